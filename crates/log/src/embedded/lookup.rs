//! Finds the offset at a time.

use super::Shared;
use super::store::{CHUNKS, chunk_key, chunk_offset};
use crate::batch::ChunkInfo;
use crate::{BatchBuilder, Result, Topic};

const DOING: &str = "looking for the offset at a time";

/// The first offset whose record has `timestamp_ms` or later; the end where there is none. Blocks.
pub(super) fn offset_at(
    shared: &Shared,
    topic: Topic,
    partition: u32,
    timestamp_ms: i64,
) -> Result<u64> {
    // Before looking: what is appended meanwhile may be of that time.
    let bounds = shared.partition(topic, partition)?.bounds();
    let fail = |e: redb::Error| shared.store.error(DOING, e);
    let tx = shared.store.read(DOING)?;
    let chunks = tx.open_table(CHUNKS).map_err(|e| fail(e.into()))?;
    let damaged = |last, e| shared.damaged(topic, partition, last, e);
    let from = |offset| {
        let range = chunk_key(topic, partition, offset)..=chunk_key(topic, partition, u64::MAX);
        chunks.range(range).map_err(|e| fail(e.into()))
    };
    // The running maximum never falls, so the first chunk that reaches the time is found by halving.
    let (mut low, mut high) = (bounds.earliest, bounds.end);
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(entry) = from(middle)?.next() else {
            high = middle;
            continue;
        };
        let (key, chunk) = entry.map_err(|e| fail(e.into()))?;
        let last = chunk_offset(&key.value());
        let info = ChunkInfo::of(chunk.value()).map_err(|e| damaged(last, e))?;
        if info.running_max >= timestamp_ms {
            high = middle;
        } else {
            low = last + 1;
        }
    }
    // Usually the first chunk; later ones only where what raised the maximum has been removed.
    for entry in from(low)? {
        let (key, chunk) = entry.map_err(|e| fail(e.into()))?;
        let last = chunk_offset(&key.value());
        let info = ChunkInfo::of(chunk.value()).map_err(|e| damaged(last, e))?;
        if info.max_timestamp < timestamp_ms {
            continue;
        }
        let mut builder = BatchBuilder::new(topic, partition);
        builder
            .push_chunk(chunk.value(), 0)
            .map_err(|e| damaged(last, e))?;
        let batch = builder.build(last + 1);
        if let Some(record) = batch.iter().find(|r| r.timestamp_ms >= timestamp_ms) {
            return Ok(record.offset);
        }
    }
    Ok(bounds.last_stable)
}
