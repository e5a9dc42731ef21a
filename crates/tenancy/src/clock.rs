//! Time as a parameter.

/// Tells the time in microseconds since 1970, UTC. Any closure that does so is one:
/// `Arc::new(move || clock.now_us())`.
pub trait Clock: Send + Sync + 'static {
    fn now_us(&self) -> i64;
}

impl<F: Fn() -> i64 + Send + Sync + 'static> Clock for F {
    fn now_us(&self) -> i64 {
        self()
    }
}
