//! Headers of records that say something of the record rather than of its event.

/// On a record of the quarantine that was sent again: it was accepted, and counted, before.
pub const REDRIVEN: &str = "laneway_redriven";
