//! The unit of work in the making.

use std::collections::BTreeMap;
use std::time::Instant;

use laneway_log::{Epoch, Records, Topic, Unit};

#[derive(Default)]
pub struct OpenUnit {
    pub records: Records,
    offsets: BTreeMap<(Topic, u32), u64>,
    /// Input records that it covers.
    pub inputs: usize,
    opened: Option<Instant>,
}

impl OpenUnit {
    /// Everything below `next` of an input partition is part of the unit.
    pub fn covers(&mut self, topic: Topic, partition: u32, next: u64) {
        self.offsets.insert((topic, partition), next);
    }

    pub fn opened(&mut self, now: Instant) {
        self.opened.get_or_insert(now);
    }

    pub fn age_ms(&self, now: Instant) -> u128 {
        self.opened.map_or(0, |opened| {
            now.saturating_duration_since(opened).as_millis()
        })
    }

    /// Whether there is nothing worth a commit: offsets alone wait for the next one.
    pub fn is_empty(&self) -> bool {
        self.inputs == 0 && self.records.is_empty()
    }

    /// The unit, for committing; an empty one stays, with room for as much again.
    pub fn take(&mut self, epoch: Epoch) -> Unit {
        let next = OpenUnit {
            records: Records::with_capacity(self.records.len(), self.records.bytes()),
            ..OpenUnit::default()
        };
        let open = std::mem::replace(self, next);
        let offsets = open
            .offsets
            .into_iter()
            .map(|((topic, partition), next)| (topic, partition, next))
            .collect();
        Unit {
            epoch,
            records: open.records,
            offsets,
        }
    }
}
