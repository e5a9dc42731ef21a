//! Positions, and the token that carries one for every lane of a tenant.

mod token;

pub use token::{TokenError, TokenKey};

/// What a subscriber has received up to, in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LanePosition {
    /// Of the placement that the lane belongs to.
    pub generation: u32,
    pub lane: u32,
    /// Of the next record to read.
    pub next: u64,
}
