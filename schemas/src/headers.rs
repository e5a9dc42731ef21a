//! Headers of records that say something of the record rather than of its event.

/// On the tombstone of a destination's cursor: the last `SinkCursor::delivered`, in decimal. What
/// a compacted topic had before a tombstone may be gone before it is read.
pub const DELIVERED: &str = "laneway_delivered";

/// On a record of the quarantine that was sent again: it was accepted, and counted, before.
pub const REDRIVEN: &str = "laneway_redriven";
