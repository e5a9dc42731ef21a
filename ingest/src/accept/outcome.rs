//! What becomes of each item.

use std::borrow::Cow;

use laneway_log::Records;
use laneway_tenancy::quota::Admission;

use crate::refusal::Refusal;

/// Something worth knowing about an item that was accepted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Recorded after its session's stop: kept as a fix without a session.
    AfterSessionStop,
    /// Recorded later than the server's clock by more than the tenant allows: kept and flagged,
    /// never the latest.
    AheadOfClock,
}

impl Note {
    pub fn name(self) -> &'static str {
        match self {
            Note::AfterSessionStop => "after-session-stop",
            Note::AheadOfClock => "ahead-of-clock",
        }
    }
}

/// Of one item, in the order of the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'a> {
    /// The fix's id, given or derived; `None` where a refused item has none. That of a refused
    /// item may hold anything.
    pub id: Option<Cow<'a, str>>,
    pub result: Result<Option<Note>, Refusal>,
}

/// A batch that is ready to be appended. Nothing of it is accepted before that is done.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub records: Records,
    /// What the records took from quotas.
    pub admission: Admission,
    pub outcomes: Vec<Outcome<'a>>,
}

impl Prepared<'_> {
    pub fn accepted(&self) -> usize {
        self.records.len()
    }
}
