//! Time as a parameter, so that tests own it.

/// Tells the time in microseconds since 1970, UTC.
pub trait Clock: Send + Sync + 'static {
    fn now_us(&self) -> i64;

    fn now_ms(&self) -> i64 {
        self.now_us() / 1000
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now_us(&self) -> i64 {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
