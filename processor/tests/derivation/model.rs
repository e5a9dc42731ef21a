//! The naive recomputation: all fixes at once, sorted, every pair looked at.

use std::collections::BTreeMap;

use laneway_processor::derive::{distance_m, fix_hash};

const MINUTE: i64 = 60_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    pub id: String,
    pub at: i64,
    pub latitude: f64,
    pub longitude: f64,
    pub speed: Option<f64>,
    pub session: Option<String>,
}

#[derive(Debug, Clone)]
pub struct SessionTimes {
    pub id: String,
    pub started_at: Option<i64>,
    pub stopped_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub fixes: u64,
    pub distance_m: f64,
    pub max_speed_mps: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub stopped_at: Option<i64>,
    pub started_at: Option<i64>,
    pub fixes: u64,
    pub distance_m: f64,
    pub duration_s: f64,
}

fn ordered<'a>(fixes: impl Iterator<Item = &'a Fix>) -> Vec<&'a Fix> {
    let mut all: Vec<&Fix> = fixes.collect();
    all.sort_by_key(|f| (f.at, fix_hash(&f.id)));
    all
}

fn between(a: &Fix, b: &Fix) -> f64 {
    distance_m((a.latitude, a.longitude), (b.latitude, b.longitude))
}

pub fn windows(fixes: &[Fix]) -> BTreeMap<i64, Window> {
    let all = ordered(fixes.iter());
    let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
    for (i, fix) in all.iter().enumerate() {
        let window = windows.entry(fix.at / MINUTE * MINUTE).or_insert(Window {
            fixes: 0,
            distance_m: 0.0,
            max_speed_mps: None,
        });
        window.fixes += 1;
        let mut speed = fix.speed;
        if i > 0 && fix.at - all[i - 1].at <= 5 * MINUTE {
            let metres = between(all[i - 1], fix);
            window.distance_m += metres;
            let seconds = (fix.at - all[i - 1].at) as f64 / 1e6;
            if seconds > 0.0 {
                speed = speed.or(Some(metres / seconds));
            }
        }
        if let Some(speed) = speed {
            window.max_speed_mps = Some(window.max_speed_mps.unwrap_or(0.0).max(speed));
        }
    }
    windows
}

/// The last word on each session of which there is one.
pub fn sessions(fixes: &[Fix], times: &[SessionTimes]) -> BTreeMap<String, Session> {
    let mut sessions = BTreeMap::new();
    for t in times {
        let members = ordered(fixes.iter().filter(|f| {
            f.session.as_ref() == Some(&t.id) && t.stopped_at.is_none_or(|stop| f.at <= stop)
        }));
        let said = t.stopped_at.is_some() || (t.started_at.is_some() && !members.is_empty());
        if !said {
            continue;
        }
        let mut distance = 0.0;
        for pair in members.windows(2) {
            distance += between(pair[0], pair[1]);
        }
        let from = t.started_at.or(members.first().map(|f| f.at));
        let to = t.stopped_at.or(members.last().map(|f| f.at));
        let duration = from
            .zip(to)
            .map_or(0.0, |(from, to)| ((to - from) as f64 / 1e6).max(0.0));
        sessions.insert(
            t.id.clone(),
            Session {
                stopped_at: t.stopped_at,
                started_at: t.started_at,
                fixes: members.len() as u64,
                distance_m: distance,
                duration_s: duration,
            },
        );
    }
    sessions
}
