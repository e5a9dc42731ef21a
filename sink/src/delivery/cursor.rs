//! How far a destination has been served in a lane.
//!
//! Everything below `offset` is done, but for the `open` offsets, which are as few as may wait
//! in memory. So a restart repeats only what was in flight, however long one device has been
//! waiting while the others went on.

use std::collections::BTreeSet;

use laneway_schemas::SinkCursor;
use laneway_tenancy::{DestinationId, TenantId};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    offset: u64,
    open: BTreeSet<u64>,
    /// Where reading stands. Open offsets below it are in memory, others are still to be read.
    read: u64,
    /// Events that were acknowledged, ever. It is written with what says that they are done, so
    /// that an event counts once however often it is sent.
    delivered: u64,
}

impl Cursor {
    /// For a destination that wants everything from `offset` on.
    pub fn at(offset: u64) -> Self {
        Cursor {
            offset,
            open: BTreeSet::new(),
            read: offset,
            delivered: 0,
        }
    }

    /// From a record. What rode at the head when it was written is done up to the group's
    /// committed offset.
    pub fn restore(record: &SinkCursor, committed: u64) -> Self {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let offset = number(record.offset);
        let offset = if record.riding {
            offset.max(committed)
        } else {
            offset
        };
        let open: BTreeSet<u64> = record
            .open
            .iter()
            .copied()
            .map(number)
            .filter(|o| *o < offset)
            .collect();
        let read = open.first().copied().unwrap_or(offset);
        Cursor {
            offset,
            open,
            read,
            delivered: number(record.delivered),
        }
    }

    pub fn record(
        &self,
        tenant: TenantId,
        destination: DestinationId,
        generation: u32,
        lane: u32,
        riding: bool,
    ) -> SinkCursor {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        SinkCursor {
            tenant_id: tenant.to_string(),
            destination_id: destination.to_string(),
            generation: i32::try_from(generation).unwrap_or(i32::MAX),
            lane: i32::try_from(lane).unwrap_or(i32::MAX),
            offset: number(self.offset),
            open: self.open.iter().copied().map(number).collect(),
            riding,
            dead: None,
            delivered: number(self.delivered),
        }
    }

    /// The next offset to read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Everything below is done.
    #[cfg(test)]
    pub fn contiguous(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.offset)
    }

    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether the record at an offset, which is at or after [`Cursor::read`], is to be
    /// delivered if it is wanted.
    pub fn is_due(&self, offset: u64) -> bool {
        offset >= self.read && (offset >= self.offset || self.open.contains(&offset))
    }

    /// The record at `offset` waits in memory from now on; those before it were passed over.
    pub fn take(&mut self, offset: u64) {
        self.pass(offset);
        self.open.insert(offset);
        self.read = offset + 1;
        self.offset = self.offset.max(self.read);
    }

    /// Nothing else below `to` is wanted.
    pub fn pass(&mut self, to: u64) {
        if to <= self.read {
            return;
        }
        if !self.open.is_empty() {
            let passed: Vec<u64> = self.open.range(self.read..to).copied().collect();
            for offset in passed {
                self.open.remove(&offset);
            }
        }
        self.read = to;
        self.offset = self.offset.max(to);
    }

    /// Delivered or parked.
    pub fn done(&mut self, offset: u64) {
        self.open.remove(&offset);
    }

    /// The destination has acknowledged one more event.
    pub fn acknowledged(&mut self) {
        self.delivered += 1;
    }

    /// How many events were acknowledged, ever.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Goes on counting what was acknowledged from where another cursor of the same destination
    /// and lane is.
    #[must_use]
    pub fn counting_on(mut self, other: &Cursor) -> Self {
        self.delivered = self.delivered.max(other.delivered);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn round_trip(cursor: &Cursor, committed: u64, riding: bool) -> Cursor {
        let record = cursor.record(
            TenantId::from_u128(1),
            DestinationId::from_u128(2),
            1,
            3,
            riding,
        );
        Cursor::restore(&record, committed)
    }

    #[test]
    fn a_device_that_waits_does_not_make_the_others_repeat() {
        let mut cursor = Cursor::at(10);
        (10..20).for_each(|o| cursor.take(o));
        (11..20).for_each(|o| cursor.done(o));
        let mut cursor = round_trip(&cursor, 0, false);
        assert_eq!((cursor.contiguous(), cursor.read()), (10, 10));
        let due: Vec<u64> = (10..22).filter(|o| cursor.is_due(*o)).collect();
        assert_eq!(due, [10, 20, 21]);
        cursor.take(10);
        cursor.done(10);
        cursor.pass(20);
        assert_eq!(cursor.contiguous(), 20);
    }

    #[test]
    fn a_cursor_that_rode_goes_on_from_where_the_group_was() {
        let cursor = Cursor::at(10);
        assert_eq!(round_trip(&cursor, 500, true).read(), 500);
        assert_eq!(round_trip(&cursor, 500, false).read(), 10);
    }

    #[test]
    fn an_open_offset_that_is_wanted_no_more_is_closed_by_passing_it() {
        let mut cursor = Cursor::at(0);
        (0..5).for_each(|o| cursor.take(o));
        let mut cursor = round_trip(&cursor, 0, false);
        cursor.pass(5);
        assert!(!cursor.has_open());
    }

    proptest! {
        /// Random takes, completions and restarts: every wanted offset is delivered, and
        /// nothing that was done when the cursor was written is delivered again.
        #[test]
        fn nothing_is_lost_and_nothing_done_is_repeated(
            wanted in proptest::collection::btree_set(0u64..60, 0..40),
            steps in proptest::collection::vec((0u8..4, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut cursor = Cursor::at(0);
            let mut memory: BTreeSet<u64> = BTreeSet::new();
            let mut delivered: BTreeMap<u64, u32> = BTreeMap::new();
            for (step, pick) in steps {
                match step {
                    // Read the next record.
                    0 | 1 if cursor.read() < 60 => {
                        let offset = cursor.read();
                        if wanted.contains(&offset) && cursor.is_due(offset) {
                            cursor.take(offset);
                            memory.insert(offset);
                        } else {
                            cursor.pass(offset + 1);
                        }
                    }
                    // Deliver something.
                    2 if !memory.is_empty() => {
                        let offset = *pick.get(&memory.iter().copied().collect::<Vec<_>>());
                        memory.remove(&offset);
                        cursor.done(offset);
                        cursor.acknowledged();
                        *delivered.entry(offset).or_default() += 1;
                    }
                    // Commit and restart.
                    3 => {
                        cursor = round_trip(&cursor, 0, false);
                        memory.clear();
                    }
                    _ => {}
                }
            }
            while cursor.read() < 60 {
                let offset = cursor.read();
                if wanted.contains(&offset) && cursor.is_due(offset) {
                    cursor.take(offset);
                    memory.insert(offset);
                } else {
                    cursor.pass(offset + 1);
                }
            }
            for offset in memory {
                cursor.done(offset);
                cursor.acknowledged();
                *delivered.entry(offset).or_default() += 1;
            }
            prop_assert_eq!(cursor.contiguous(), 60);
            prop_assert_eq!(cursor.delivered, wanted.len() as u64);
            prop_assert_eq!(delivered.keys().copied().collect::<BTreeSet<_>>(), wanted);
            prop_assert!(delivered.values().all(|n| *n == 1));
        }
    }
}
