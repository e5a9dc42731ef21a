//! Ids of fixes that are within the horizon and no points (any more): repeats are told by them.

use std::collections::VecDeque;

/// Ids of a run; and those that a head carries at most, until they become one.
const RUN: usize = 64;

/// Bounded by [`Seen::trim`].
#[derive(Debug, Clone)]
pub struct Seen {
    /// The newest, as they came.
    pub(super) recent: Vec<u64>,
    /// Newest recorded_at of them.
    pub(super) recent_last_at: i64,
    /// Oldest first; each is written once, and deleted when it is forgotten.
    pub(super) runs: VecDeque<Run>,
    pub(super) first_run: u32,
    /// The first run that the log still has.
    pub(super) written_first: u32,
    /// How many of the last runs the log does not have yet.
    pub(super) unwritten: usize,
}

#[derive(Debug, Clone)]
pub struct Run {
    /// Newest recorded_at of its fixes.
    pub last_at: i64,
    /// Ascending.
    pub ids: Box<[u64]>,
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            recent: Vec::new(),
            recent_last_at: i64::MIN,
            runs: VecDeque::new(),
            first_run: 0,
            written_first: 0,
            unwritten: 0,
        }
    }
}

impl Seen {
    pub fn len(&self) -> usize {
        self.recent.len() + self.runs.iter().map(|run| run.ids.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.runs.is_empty()
    }

    pub fn contains(&self, id: u64) -> bool {
        let in_run = |run: &Run| run.ids.binary_search(&id).is_ok();
        self.recent.contains(&id) || self.runs.iter().rev().any(in_run)
    }

    pub fn add(&mut self, id: u64, at: i64) {
        if self.recent.len() >= RUN {
            self.recent.sort_unstable();
            self.runs.push_back(Run {
                last_at: self.recent_last_at,
                ids: self.recent.as_slice().into(),
            });
            self.unwritten += 1;
            self.recent.clear();
            self.recent_last_at = i64::MIN;
        }
        self.recent.push(id);
        self.recent_last_at = self.recent_last_at.max(at);
    }

    /// Forgets what lies before `limit`, and what is more than `most`, a run at a time.
    pub fn trim(&mut self, limit: i64, most: usize) {
        let runs = most.saturating_sub(self.recent.len()) / RUN;
        while self
            .runs
            .front()
            .is_some_and(|run| run.last_at < limit || self.runs.len() > runs)
        {
            self.runs.pop_front();
            self.first_run += 1;
            self.unwritten = self.unwritten.min(self.runs.len());
        }
        if self.recent_last_at < limit || self.recent.len() > most {
            self.recent.clear();
            self.recent_last_at = i64::MIN;
        }
    }

    /// What the log does not know yet: deleted runs, then new ones by their number.
    pub(super) fn take_changes(
        &mut self,
    ) -> (std::ops::Range<u32>, impl Iterator<Item = (u32, &Run)>) {
        let deleted = self.written_first..self.first_run;
        self.written_first = self.first_run;
        let written = self.runs.len() - std::mem::take(&mut self.unwritten);
        let numbered = (self.first_run..).zip(&self.runs);
        (deleted, numbered.skip(written))
    }

    /// Nothing of it is in the log but in the head.
    pub(super) fn is_in_head(&self) -> bool {
        self.runs.is_empty() && self.written_first == self.first_run
    }
}
