//! The health of a destination, shared by its lanes wherever they are: after failures in a row
//! it waits as a whole, then one attempt at a time asks whether it is back.
//!
//! Each process has its own breaker; what one learns the others hear (see [`super::signals`]).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::backoff::Backoff;

/// What is told of a destination's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// How long it still waits as a whole, where it does.
    pub waits: Option<Duration>,
    /// Times in a row that it opened.
    pub opened: u32,
    /// Its last failure, and when that was, in microseconds since 1970.
    pub error: Option<(Box<str>, i64)>,
}

#[derive(Default)]
struct State {
    failures: u32,
    /// Times in a row that it opened.
    opened: u32,
    until: Option<Instant>,
    /// Until when the probe in flight is waited for.
    probing: Option<Instant>,
    successes: u64,
    error: Option<(Box<str>, i64)>,
    /// When the others were last told of an error.
    told: Option<Instant>,
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
/// Who opened it probes first: the others leave it so much time.
const PRECEDENCE: Duration = Duration::from_secs(3);
/// Errors that open nothing are told no more often.
const QUIET: Duration = Duration::from_secs(10);
/// Clocks and the way over the log do not tell times more exactly.
const SAME: Duration = Duration::from_millis(100);

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

    /// Whether it was open: then it is closed now, and the others are to be told.
    pub fn succeeded(&self) -> bool {
        let mut state = self.lock();
        state.successes += 1;
        state.close()
    }

    /// A failure of any kind; the receiver may have said how long to wait. Whether the others
    /// are to be told.
    pub fn failed(
        &self,
        now: Instant,
        (reason, at_us): (&str, i64),
        retry_after: Option<Duration>,
        rng: &mut impl Rng,
    ) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        state.error = Some((reason.into(), at_us));
        // Attempts that began before it opened say nothing new.
        let opens =
            state.probing.is_some() || (state.until.is_none() && state.failures >= self.after);
        let until = if let Some(wait) = retry_after {
            now + wait
        } else if opens {
            state.opened = state.opened.saturating_add(1);
            // Never less than half of it: what is down is not asked all the time by chance.
            let wait = self.backoff.after(state.opened.saturating_add(2), rng);
            now + wait.max(self.backoff.first)
        } else {
            return state.tell_quietly(now);
        };
        state.probing = None;
        if state.until.is_some_and(|u| u >= until) {
            return state.tell_quietly(now);
        }
        state.until = Some(until);
        state.told = Some(now);
        true
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

    pub fn health(&self, now: Instant) -> Health {
        let state = self.lock();
        Health {
            waits: state
                .until
                .map(|until| until.saturating_duration_since(now)),
            opened: state.opened,
            error: state.error.clone(),
        }
    }

    /// What this process or another one told.
    pub fn heard(&self, now: Instant, health: &Health, own: bool) {
        let mut state = self.lock();
        state.error.clone_from(&health.error);
        let Some(waits) = health.waits else {
            state.close();
            return;
        };
        let until = now + waits + if own { Duration::ZERO } else { PRECEDENCE };
        state.opened = state.opened.max(health.opened);
        if state.until.is_none_or(|u| until > u + SAME) {
            state.until = Some(until);
            state.probing = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) -> bool {
        self.failures = 0;
        self.opened = 0;
        self.probing = None;
        self.until.take().is_some()
    }

    fn tell_quietly(&mut self, now: Instant) -> bool {
        let due = self.told.is_none_or(|told| now - told >= QUIET);
        if due {
            self.told = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(60),
    };
    const WHY: (&str, i64) = ("answered 500", 7);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(3, BACKOFF);
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..3 {
            breaker.failed(now, WHY, None, &mut rng);
        }
        breaker
    }

    #[tokio::test]
    async fn it_opens_after_failures_in_a_row_and_closes_by_one_probe() {
        let breaker = Breaker::new(3, BACKOFF);
        let mut rng = StdRng::seed_from_u64(1);
        let now = Instant::now();
        for _ in 0..2 {
            breaker.failed(now, WHY, None, &mut rng);
        }
        assert!(!breaker.succeeded(), "nothing to tell: it was closed");
        for _ in 0..2 {
            breaker.failed(now, WHY, None, &mut rng);
            assert_eq!(breaker.may_begin(now), Ok(()));
        }
        assert!(breaker.failed(now, WHY, None, &mut rng), "told: it opens");
        let until = breaker.may_begin(now).unwrap_err();
        assert!(until >= now + BACKOFF.first);
        assert_eq!(breaker.may_begin(until), Ok(()), "one probe");
        assert!(
            breaker.may_begin(until).is_err(),
            "and no second one beside it"
        );
        assert!(breaker.succeeded(), "told: it closes");
        assert_eq!(breaker.may_begin(until), Ok(()));
    }

    #[tokio::test]
    async fn a_receiver_that_says_how_long_to_wait_is_given_as_long() {
        let breaker = Breaker::new(3, BACKOFF);
        let now = Instant::now();
        let wait = Duration::from_secs(20);
        breaker.failed(now, WHY, Some(wait), &mut StdRng::seed_from_u64(1));
        assert_eq!(breaker.may_begin(now), Err(now + wait));
    }

    #[tokio::test]
    async fn attempts_that_began_before_it_opened_do_not_make_it_wait_longer() {
        let now = Instant::now();
        let breaker = opened(now);
        let until = breaker.may_begin(now).unwrap_err();
        for _ in 0..60 {
            breaker.failed(now, WHY, None, &mut StdRng::seed_from_u64(2));
        }
        assert_eq!(breaker.may_begin(now), Err(until));
    }

    #[tokio::test]
    async fn what_one_process_learns_opens_and_closes_the_breaker_of_another() {
        let now = Instant::now();
        let (one, other) = (opened(now), Breaker::new(3, BACKOFF));
        let until = one.may_begin(now).unwrap_err();
        other.heard(now, &one.health(now), false);
        assert_eq!(
            other.may_begin(now),
            Err(until + PRECEDENCE),
            "who opened it probes first"
        );
        assert_eq!(one.may_begin(until), Ok(()));
        one.heard(until, &one.health(now), true);
        assert!(
            one.may_begin(until).is_err(),
            "its own news do not let a second probe begin"
        );
        assert!(one.succeeded());
        other.heard(until, &one.health(until), false);
        assert_eq!(other.may_begin(until), Ok(()));
        assert_eq!(other.health(now).error, Some(("answered 500".into(), 7)));
    }
}
