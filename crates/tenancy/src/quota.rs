//! Quotas: what a tenant may use on a day (UTC), over all nodes together.
//!
//! Every tenant has an [`Account`] on each ingest node that lets something of it through. It says
//! how much this node let through, exactly and at once, and how much was used elsewhere, as of
//! the last exchange with the other nodes, at most half a second ago. So what is let through
//! beyond a quota is what the other nodes take in between two exchanges.
//!
//! What a tenant gives to tenants below it is taken off its own limits ([`crate::share`]), so
//! that the quotas of a family add up to that of its head and each is enforced by itself.

mod account;
mod meter;

pub use account::Account;
pub use meter::{Admission, Exceeded, QuotaMeter};

use crate::control::Limits;

const DAY_US: i64 = 86_400_000_000;
/// Longest wait that a client is told: a quota may be raised meanwhile.
const LONGEST_WAIT_S: i64 = 3600;

/// Days since 1970-01-01 (UTC) of a time in microseconds.
pub fn day_of_us(us: i64) -> i64 {
    us.div_euclid(DAY_US)
}

/// Days since 1970-01-01 (UTC) of a time in milliseconds.
pub fn day_of_ms(ms: i64) -> i64 {
    ms.div_euclid(DAY_US / 1000)
}

/// Seconds until the day of a time ends, for `Retry-After`: at least 1, at most an hour.
fn wait_s(now_us: i64) -> u32 {
    let left_s = (DAY_US - now_us.rem_euclid(DAY_US)) / 1_000_000 + 1;
    u32::try_from(left_s.clamp(1, LONGEST_WAIT_S)).unwrap_or(1)
}

/// A limit by the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Quota {
    Events,
    Bytes,
}

impl Quota {
    pub const ALL: [Quota; 2] = [Quota::Events, Quota::Bytes];

    /// As [`Limits`] names it.
    pub fn name(self) -> &'static str {
        match self {
            Quota::Events => "events_per_day",
            Quota::Bytes => "bytes_per_day",
        }
    }

    /// Zero means none.
    pub fn limit(self, limits: &Limits) -> u64 {
        match self {
            Quota::Events => limits.events_per_day,
            Quota::Bytes => limits.bytes_per_day,
        }
    }

    /// What of events and their bytes it counts.
    pub fn of(self, events: i64, bytes: i64) -> i64 {
        match self {
            Quota::Events => events,
            Quota::Bytes => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_and_the_wait_with_it() {
        assert_eq!(day_of_us(DAY_US - 1), 0);
        assert_eq!(day_of_us(DAY_US), 1);
        assert_eq!(day_of_us(-1), -1);
        assert_eq!(day_of_ms(DAY_US / 1000), 1);
        assert_eq!(wait_s(DAY_US - 1), 1);
        assert_eq!(wait_s(DAY_US - 10_000_000), 11);
        assert_eq!(wait_s(DAY_US), 3600);
    }
}
