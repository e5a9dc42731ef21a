//! The time of day, which the two ends of a latency share.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: f64 = 86_400.0;

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement runs in the time of day"
)]
pub fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

pub fn second_of_day() -> f64 {
    seconds() % DAY_SECONDS
}
