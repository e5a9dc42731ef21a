//! What can go wrong with the log, told apart by what the caller does about it.

use crate::Topic;

#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Passing trouble: nothing is known to be durable, sending again is safe.
    #[error("the log is unavailable while {doing}: {reason}; try again later")]
    Unavailable { doing: &'static str, reason: String },
    /// The bounded queue in front of the log is full.
    #[error("the log has {queued_bytes} bytes waiting already; try again later")]
    Busy { queued_bytes: usize },
    /// The disk under the embedded log is full; what was kept stays readable.
    #[error(
        "no space is left for the log in {path}: {reason}; free some, or lower log.retention_bytes"
    )]
    Full { path: String, reason: String },
    #[error("a record for {topic} has {bytes} bytes, over the limit of {limit}")]
    TooLarge {
        topic: Topic,
        bytes: usize,
        limit: usize,
    },
    /// Another owner has the partition, or the epoch is over. Drop the state and read on from
    /// the next assignment, or join anew where the member ends.
    #[error("fenced while {doing}: {reason}")]
    Fenced { doing: &'static str, reason: String },
    /// A topic is missing or has another shape than the configuration says.
    #[error("topic {topic}: {reason}")]
    Topic { topic: String, reason: String },
    /// The offset is no longer (or not yet) there.
    #[error("{topic}[{partition}]: offset {offset} is outside of {earliest}..={end}")]
    OutOfRange {
        topic: Topic,
        partition: u32,
        offset: u64,
        earliest: u64,
        end: u64,
    },
    #[error("the log configuration is wrong: {0}")]
    Config(String),
    /// Stored data cannot be read: names where.
    #[error("stored log data is damaged at {at}: {reason}")]
    Corrupt { at: String, reason: String },
    /// The role has to stop: going on would break an invariant.
    #[error("fatal: {0}")]
    Fatal(String),
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// Whether the same call may succeed later without anything else being done.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            LogError::Unavailable { .. } | LogError::Busy { .. } | LogError::Full { .. }
        )
    }
}
