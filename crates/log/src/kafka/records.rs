//! From librdkafka's messages, which come one by one, to batches of one partition.

use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Headers as _, Message};

use super::topics::Names;
use crate::{Batch, BatchBuilder, Topic};

const MAX_RECORDS: usize = 2_000;
const MAX_BYTES: usize = 1 << 20;

/// What a consumer's queue holds of records that nobody has taken yet.
pub(super) const QUEUED_BYTES: usize = 8 << 20;

/// Messages taken in a row before commands and the queue are looked at again.
pub(super) const POLL_AT_MOST: usize = 10_000;

/// What a record in a queue weighs besides its bytes.
const RECORD_OVERHEAD: usize = 64;

/// A first poll waits this long; those that follow only take what is there.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Collects messages of one partition.
pub(super) struct Gatherer {
    names: Names,
    open: Option<Open>,
    /// Records and bytes of the batch before: the next is likely to be as large.
    last: (usize, usize),
}

struct Open {
    topic: Topic,
    partition: u32,
    next_offset: u64,
    builder: BatchBuilder,
}

impl Gatherer {
    pub(super) fn new(names: &Names) -> Self {
        Gatherer {
            names: names.clone(),
            open: None,
            last: (0, 0),
        }
    }

    /// Adds a message; returns the batch that it completes or does not belong to.
    pub(super) fn add(&mut self, message: &BorrowedMessage<'_>) -> Option<Batch> {
        let mut finished = None;
        let here = (message.topic(), message.partition());
        let fits = self
            .open
            .as_ref()
            .is_some_and(|open| self.names.physical(open.topic, open.partition) == here);
        if !fits {
            finished = self.take();
            // Only topics of this log are ever subscribed.
            let (topic, partition) = self.names.logical(here.0, here.1)?;
            self.open = Some(Open {
                topic,
                partition,
                next_offset: 0,
                builder: BatchBuilder::with_capacity(topic, partition, self.last.0, self.last.1),
            });
        }
        let open = self.open.as_mut()?;
        let offset = message.offset().unsigned_abs();
        open.next_offset = offset + 1;
        let headers = message.headers();
        let headers = headers
            .iter()
            .flat_map(|headers| headers.iter())
            .map(|h| (h.key, h.value.unwrap_or_default()));
        open.builder.push(
            offset,
            message.timestamp().to_millis().unwrap_or_default(),
            message.key().unwrap_or_default(),
            message.payload(),
            headers,
        );
        let full = open.builder.len() >= MAX_RECORDS || open.builder.bytes() >= MAX_BYTES;
        // One record larger than a batch, behind another partition's: the next call ends it.
        if full && finished.is_none() {
            return self.take();
        }
        finished
    }

    pub(super) fn take(&mut self) -> Option<Batch> {
        let open = self.open.take()?;
        self.last = (open.builder.len(), open.builder.bytes());
        Some(open.builder.build(open.next_offset))
    }
}

pub(super) fn weight(batch: &Batch) -> usize {
    batch.bytes() + batch.len() * RECORD_OVERHEAD
}

/// The offset that librdkafka names when a partition's end is reached; the wrapper keeps only
/// its text: `Fetch from broker 1 reached end of partition at offset 12 (HighwaterMark 12)`.
/// It lies behind transaction markers and compacted records, which no message tells of.
pub(super) fn end_of_partition(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("end of partition at offset ")?;
    after.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::end_of_partition;

    #[test]
    fn the_offset_of_an_end_of_partition_is_read_from_its_text() {
        let text = "Fetch from broker 1 reached end of partition at offset 12 (HighwaterMark 15)";
        assert_eq!(end_of_partition(text), Some(12));
        assert_eq!(end_of_partition("Broker: No more messages"), None);
    }
}
