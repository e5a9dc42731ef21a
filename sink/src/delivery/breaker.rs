//! The health of a destination, shared by its lanes in this process: after failures in a row it
//! waits as a whole, then one attempt at a time asks whether it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::backoff::Backoff;

#[derive(Default)]
struct State {
    failures: u32,
    /// Times in a row that it opened.
    opened: u32,
    until: Option<Instant>,
    /// Until when the probe in flight is waited for.
    probing: Option<Instant>,
    successes: u64,
}

pub struct Breaker {
    after: u32,
    backoff: Backoff,
    state: Mutex<State>,
}

/// How often a lane asks again while another one's attempt is the probe.
const PROBE: Duration = Duration::from_millis(200);
/// A probe without an outcome, because its lane has moved away, is forgotten after so long.
const LOST: Duration = Duration::from_secs(60);

impl Breaker {
    pub fn new(after: u32, backoff: Backoff) -> Self {
        Breaker {
            after: after.max(1),
            backoff,
            state: Mutex::default(),
        }
    }

    /// Whether an attempt may begin now; when to ask again where not.
    pub fn may_begin(&self, now: Instant) -> Result<(), Instant> {
        let mut state = self.lock();
        match state.until {
            None => Ok(()),
            Some(until) if now < until => Err(until),
            Some(_) if state.probing.is_some_and(|given_up| now < given_up) => Err(now + PROBE),
            Some(_) => {
                state.probing = Some(now + LOST);
                Ok(())
            }
        }
    }

    pub fn succeeded(&self) {
        let mut state = self.lock();
        let successes = state.successes + 1;
        *state = State {
            successes,
            ..State::default()
        };
    }

    /// A failure of any kind; the receiver may have said how long to wait.
    pub fn failed(&self, now: Instant, retry_after: Option<Duration>, rng: &mut impl Rng) {
        let mut state = self.lock();
        state.failures += 1;
        let until = if let Some(wait) = retry_after {
            now + wait
        } else if state.probing.is_some() || state.failures >= self.after {
            state.opened += 1;
            // Never less than half of it: what is down is not asked all the time by chance.
            let wait = self.backoff.after(state.opened + 2, rng);
            now + wait.max(self.backoff.first)
        } else {
            return;
        };
        state.probing = None;
        state.until = Some(state.until.map_or(until, |u| u.max(until)));
    }

    /// An attempt that ended without saying anything.
    pub fn gave_up(&self) {
        self.lock().probing = None;
    }

    pub fn is_open(&self) -> bool {
        self.lock().until.is_some()
    }

    /// Counts successes: whether others succeed meanwhile.
    pub fn successes(&self) -> u64 {
        self.lock().successes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[tokio::test]
    async fn it_opens_after_failures_in_a_row_and_closes_by_one_probe() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        };
        let breaker = Breaker::new(3, backoff);
        let mut rng = StdRng::seed_from_u64(1);
        let now = Instant::now();
        for _ in 0..2 {
            breaker.failed(now, None, &mut rng);
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(now, None, &mut rng);
            assert_eq!(breaker.may_begin(now), Ok(()));
        }
        breaker.failed(now, None, &mut rng);
        let until = breaker.may_begin(now).unwrap_err();
        assert!(until >= now + backoff.first);
        assert_eq!(breaker.may_begin(until), Ok(()), "one probe");
        assert!(
            breaker.may_begin(until).is_err(),
            "and no second one beside it"
        );
        breaker.succeeded();
        assert_eq!(breaker.may_begin(until), Ok(()));
    }

    #[tokio::test]
    async fn a_receiver_that_says_how_long_to_wait_is_given_as_long() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        };
        let breaker = Breaker::new(3, backoff);
        let now = Instant::now();
        breaker.failed(
            now,
            Some(Duration::from_secs(20)),
            &mut StdRng::seed_from_u64(1),
        );
        assert_eq!(breaker.may_begin(now), Err(now + Duration::from_secs(20)));
    }
}
