//! The generic cell rate algorithm (ITU-T I.371) with one atomic a key.

use std::sync::atomic::{AtomicI64, Ordering};

/// One bucket: the theoretical arrival time of the next event, in nanoseconds since 1970.
#[derive(Debug, Default)]
pub struct Gcra(AtomicI64);

/// A rate, and how far ahead of it one may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Nanoseconds an event.
    interval_ns: f64,
    /// Nanoseconds of burst.
    burst_ns: f64,
}

impl Rate {
    /// `per_second` events a second, `burst` of them at once. `per_second` must be positive.
    pub fn new(per_second: f64, burst: f64) -> Self {
        let interval_ns = 1e9 / per_second.max(1e-9);
        Rate {
            interval_ns,
            burst_ns: interval_ns * burst.max(1.0),
        }
    }

    fn cost_ns(&self, n: u32) -> i64 {
        (f64::from(n) * self.interval_ns).min(i64::MAX as f64 / 4.0) as i64
    }
}

impl Gcra {
    pub fn new() -> Self {
        Gcra::default()
    }

    /// Gives back `n` events that were taken at this rate.
    pub fn give_back(&self, n: u32, rate: Rate) {
        self.0.fetch_sub(rate.cost_ns(n), Ordering::Relaxed);
    }

    /// Takes `n` events, or says in how many microseconds they could be taken. A group that is
    /// larger than the burst passes once the bucket is full, and is paid for afterwards.
    pub fn take(&self, now_us: i64, n: u32, rate: Rate) -> Result<(), i64> {
        let now = now_us.saturating_mul(1000);
        let cost = rate.cost_ns(n);
        let burst = rate.burst_ns.min(i64::MAX as f64 / 4.0) as i64;
        let mut wait = 0;
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tat| {
                let start = tat.max(now);
                let allowed_from = start.saturating_add(cost.min(burst)).saturating_sub(burst);
                if allowed_from > now {
                    wait = allowed_from - now;
                    return None;
                }
                Some(start.saturating_add(cost))
            });
        taken.map(drop).map_err(|_| wait / 1000 + 1)
    }

    /// Whether one event could be taken; takes none.
    pub fn would_pass(&self, now_us: i64, rate: Rate) -> Result<(), i64> {
        let now = now_us.saturating_mul(1000);
        let full_at = self.0.load(Ordering::Relaxed) as f64 + rate.interval_ns - rate.burst_ns;
        if full_at > now as f64 {
            Err(((full_at - now as f64) / 1000.0) as i64 + 1)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn over_a_long_time_no_more_passes_than_the_rate_and_one_burst(
            steps in proptest::collection::vec((0i64..50_000, 1u32..20), 1..500),
        ) {
            let rate = Rate::new(1000.0, 50.0);
            let bucket = Gcra::new();
            let (mut now, mut passed) = (1_000_000_000_000_i64, 0u64);
            let start = now;
            for (step, n) in steps {
                now += step;
                if bucket.take(now, n, rate).is_ok() {
                    passed += u64::from(n);
                }
            }
            let bound = (now - start) as f64 / 1000.0 + 50.0 + 1.0;
            proptest::prop_assert!(passed as f64 <= bound, "{passed} > {bound}");
        }
    }

    #[test]
    fn a_refusal_says_when_it_would_pass() {
        let rate = Rate::new(10.0, 1.0);
        let bucket = Gcra::new();
        assert_eq!(bucket.take(1_000_000, 1, rate), Ok(()));
        let wait = bucket.take(1_000_000, 1, rate).unwrap_err();
        assert!((99_000..=101_000).contains(&wait), "{wait}");
        assert!(bucket.would_pass(1_000_000, rate).is_err());
        assert_eq!(bucket.take(1_000_000 + wait, 1, rate), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let rate = Rate::new(10.0, 10.0);
        let bucket = Gcra::new();
        assert_eq!(bucket.take(1_000_000, 8, rate), Ok(()));
        bucket.give_back(8, rate);
        assert_eq!(bucket.take(1_000_000, 10, rate), Ok(()));
        assert!(bucket.take(1_000_000, 1, rate).is_err());
    }

    #[test]
    fn a_batch_larger_than_the_burst_is_not_refused_for_ever() {
        let rate = Rate::new(100.0, 10.0);
        let bucket = Gcra::new();
        assert_eq!(bucket.take(0, 200, rate), Ok(()));
        let wait = bucket.take(0, 1, rate).unwrap_err();
        assert!((1_800_000..=2_000_000).contains(&wait), "{wait}");
    }
}
