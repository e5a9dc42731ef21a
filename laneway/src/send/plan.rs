//! What is sent when: every device's fixes, moved in time, in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::str::FromStr;
use std::time::Duration;

use super::track::{Fix, Track};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shift {
    Now,
    By(i64),
}

impl FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("now") {
            return Ok(Shift::Now);
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        // Days, too, which are 24 hours here.
        let (days, rest) = match rest.split_once('d') {
            Some((days, rest)) => (days.trim().parse::<i64>().map_err(|_| wrong(text))?, rest),
            None => (0, rest),
        };
        let rest: jiff::SignedDuration = if rest.trim().is_empty() {
            jiff::SignedDuration::ZERO
        } else {
            rest.trim().parse().map_err(|_| wrong(text))?
        };
        let micros = i64::try_from(rest.as_micros()).map_err(|_| wrong(text))?;
        let total = days
            .checked_mul(86_400_000_000)
            .and_then(|d| d.checked_add(micros))
            .ok_or_else(|| wrong(text))?;
        Ok(Shift::By(if negative { -total } else { total }))
    }
}

fn wrong(text: &str) -> String {
    format!("'{text}' is neither `now` nor a duration such as 90s, 3h or -2d12h")
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    Max,
    Times(f64),
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Pace::Max);
        }
        text.trim_end_matches('x')
            .parse()
            .ok()
            .filter(|times: &f64| times.is_finite() && *times > 0.0)
            .map(Pace::Times)
            .ok_or_else(|| format!("'{text}' is neither `max` nor a number above 0"))
    }
}

pub struct Plan {
    tracks: Vec<Track>,
    clones: u32,
    pace: Pace,
    /// The first time of all, unmoved.
    first: i64,
    shift: i64,
}

/// One thing to do for a device.
#[derive(Debug, PartialEq)]
pub struct Step<'p> {
    pub device: usize,
    /// Of the device's fixes.
    pub index: usize,
    pub fix: &'p Fix,
    pub is_last: bool,
}

impl Plan {
    pub fn new(
        mut tracks: Vec<Track>,
        clones: u32,
        shift: Option<Shift>,
        pace: Pace,
        now: i64,
    ) -> Self {
        tracks.retain(|track| !track.fixes.is_empty());
        let first = tracks
            .iter()
            .filter_map(|t| t.fixes.first())
            .map(|f| f.at)
            .min()
            .unwrap_or(0);
        let last = tracks
            .iter()
            .filter_map(|t| t.fixes.last())
            .map(|f| f.at)
            .max()
            .unwrap_or(0);
        let shift = match shift {
            None => 0,
            Some(Shift::By(micros)) => micros,
            // So that the last one is sent at its time, and none before it.
            Some(Shift::Now) => {
                let takes = match pace {
                    Pace::Max => 0,
                    Pace::Times(times) => ((last - first) as f64 / times) as i64,
                };
                now + takes - last
            }
        };
        Plan {
            tracks,
            clones,
            pace,
            first,
            shift,
        }
    }

    pub fn devices(&self) -> usize {
        self.tracks.len() * self.clones as usize
    }

    pub fn fixes(&self) -> u64 {
        let fixes: usize = self.tracks.iter().map(|track| track.fixes.len()).sum();
        fixes as u64 * u64::from(self.clones)
    }

    fn track(&self, device: usize) -> &Track {
        &self.tracks[device % self.tracks.len()]
    }

    pub fn device_name(&self, device: usize) -> String {
        let name = &self.track(device).device;
        if self.clones == 1 {
            name.clone()
        } else {
            format!("{name}-{}", device / self.tracks.len() + 1)
        }
    }

    /// The time a fix is sent with.
    pub fn at(&self, fix: &Fix) -> i64 {
        fix.at + self.shift
    }

    /// How long after the start it is due.
    pub fn due(&self, fix: &Fix) -> Duration {
        match self.pace {
            Pace::Max => Duration::ZERO,
            Pace::Times(times) => {
                Duration::from_micros(((fix.at - self.first) as f64 / times) as u64)
            }
        }
    }

    pub fn first_of(&self, device: usize) -> i64 {
        self.track(device)
            .fixes
            .first()
            .map_or(0, |fix| self.at(fix))
    }

    /// The steps of every `of`-th device, in the order of their times.
    pub fn steps(&self, worker: usize, of: usize) -> impl Iterator<Item = Step<'_>> {
        let mut next: BinaryHeap<Reverse<(i64, usize, usize)>> = (worker..self.devices())
            .step_by(of)
            .filter_map(|device| Some(Reverse((self.track(device).fixes.first()?.at, device, 0))))
            .collect();
        std::iter::from_fn(move || {
            let Reverse((_, device, index)) = next.pop()?;
            let fixes = &self.track(device).fixes;
            if let Some(after) = fixes.get(index + 1) {
                next.push(Reverse((after.at, device, index + 1)));
            }
            Some(Step {
                device,
                index,
                fix: &fixes[index],
                is_last: index + 1 == fixes.len(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(clones: u32, shift: Option<Shift>, pace: Pace) -> Plan {
        let fix = |at| Fix {
            at,
            ..Fix::default()
        };
        let tracks = vec![
            Track {
                device: "a".into(),
                fixes: vec![fix(1_000_000), fix(5_000_000)],
            },
            Track {
                device: "b".into(),
                fixes: vec![fix(3_000_000)],
            },
        ];
        Plan::new(tracks, clones, shift, pace, 100_000_000)
    }

    #[test]
    fn every_devices_fixes_come_once_and_in_order_whatever_the_workers() {
        let plan = plan(3, None, Pace::Max);
        assert_eq!((plan.devices(), plan.fixes()), (6, 9));
        let mut seen = Vec::new();
        for worker in 0..4 {
            let mut last = 0;
            for step in plan.steps(worker, 4) {
                assert!(step.fix.at >= last);
                last = step.fix.at;
                seen.push((plan.device_name(step.device), step.index));
            }
        }
        seen.sort();
        let expected: Vec<(String, usize)> = ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"]
            .into_iter()
            .flat_map(|name| {
                (0..if name.starts_with('a') { 2 } else { 1 }).map(move |i| (name.to_owned(), i))
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn shifted_to_now_nothing_is_ever_ahead_of_the_clock() {
        for pace in [
            Pace::Max,
            Pace::Times(1.0),
            Pace::Times(2.0),
            Pace::Times(100.0),
        ] {
            let plan = plan(1, Some(Shift::Now), pace);
            for step in plan.steps(0, 1) {
                let sent_at = 100_000_000 + plan.due(step.fix).as_micros() as i64;
                assert!(plan.at(step.fix) <= sent_at, "{pace:?}");
            }
        }
        let plan = plan(1, Some(Shift::Now), Pace::Times(1.0));
        assert_eq!(plan.first_of(0), 100_000_000);
    }

    #[test]
    fn shifts_and_paces_are_read() {
        assert_eq!("now".parse(), Ok(Shift::Now));
        assert_eq!("3h".parse(), Ok(Shift::By(10_800_000_000)));
        assert_eq!("-2d".parse(), Ok(Shift::By(-172_800_000_000)));
        assert_eq!("1d12h".parse(), Ok(Shift::By(129_600_000_000)));
        assert!("tomorrow".parse::<Shift>().is_err());
        assert_eq!("10x".parse(), Ok(Pace::Times(10.0)));
        assert!("0".parse::<Pace>().is_err());
    }
}
