//! Exponential backoff with full jitter.

use std::time::Duration;

use rand::{Rng, RngExt};

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after the `failures`th failure in a row: anything up to
    /// `first * 2^(failures - 1)`, at most `longest`.
    pub fn after(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(30))
            .min(self.longest);
        ceiling.mul_f64(rng.random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_differ() {
        let backoff = Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(300),
        };
        let mut rng = StdRng::seed_from_u64(7);
        for failures in 1..50 {
            let ceiling = Duration::from_millis(500).saturating_mul(1 << (failures - 1).min(20));
            assert!(backoff.after(failures, &mut rng) <= ceiling.min(backoff.longest));
        }
        let many: Vec<_> = (0..100).map(|_| backoff.after(30, &mut rng)).collect();
        assert!(many.iter().any(|w| *w > Duration::from_secs(200)));
        assert!(many.iter().any(|w| *w < Duration::from_secs(100)));
    }
}
