//! Retention: removes old chunks and old tombstones, a few with each commit, so that no
//! append waits for a sweep.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redb::ReadableTable;

use super::lane::{Lane, Tables};
use super::store::{chunk_key, chunk_offset, lane_key};
use crate::LogConfig;
use crate::batch::ChunkInfo;

/// How long a tombstone stays, by its timestamp, so that readers learn of the deletion.
pub(super) const TOMBSTONES_KEPT_MS: i64 = 3_600_000;

/// How often every partition is looked at for its age.
const ROUND: Duration = Duration::from_secs(1);

/// Chunks looked at or removed in one commit, besides twice the number that it adds.
const STEP: usize = 128;

pub(super) struct Sweep {
    retention_ms: i64,
    retention_bytes: u64,
    /// Lanes to look at, each at most once.
    due: VecDeque<usize>,
    queued: Vec<bool>,
    tombstones_due: bool,
    last_round: Option<Instant>,
}

impl Sweep {
    pub(super) fn new(config: &LogConfig, lanes: usize) -> Self {
        Sweep {
            retention_ms: i64::try_from(config.retention_seconds)
                .map_or(i64::MAX, |s| s.saturating_mul(1000)),
            retention_bytes: config.retention_bytes,
            due: VecDeque::new(),
            queued: vec![false; lanes],
            tombstones_due: false,
            last_round: None,
        }
    }

    /// Starts a round if it is time for one. Returns whether there is work.
    pub(super) fn tick(&mut self, now: Instant, lanes: &[Lane]) -> bool {
        if self
            .last_round
            .is_none_or(|last| now.duration_since(last) >= ROUND)
        {
            self.last_round = Some(now);
            self.tombstones_due = true;
            for (index, lane) in lanes.iter().enumerate() {
                if !lane.topic.compacted() && lane.staged.end > lane.staged.earliest {
                    self.enqueue(index);
                }
            }
        }
        self.tombstones_due || !self.due.is_empty()
    }

    fn enqueue(&mut self, index: usize) {
        if !std::mem::replace(&mut self.queued[index], true) {
            self.due.push_back(index);
        }
    }

    /// A chunk was added to the lane.
    pub(super) fn grown(&mut self, index: usize, lane: &Lane) {
        if self.over(lane) && !lane.topic.compacted() {
            self.enqueue(index);
        }
    }

    fn over(&self, lane: &Lane) -> bool {
        self.retention_bytes > 0 && lane.staged.bytes > self.retention_bytes
    }

    /// Removes what is due, within bounds. Returns whether it has removed anything.
    pub(super) fn step(
        &mut self,
        tables: &mut Tables<'_>,
        lanes: &mut [Lane],
        added: usize,
        now_ms: i64,
    ) -> Result<bool, redb::Error> {
        let all = STEP + 2 * added;
        let mut budget = all;
        if std::mem::take(&mut self.tombstones_due) {
            self.tombstones_due = sweep_tombstones(tables, lanes, now_ms, &mut budget)?;
        }
        let mut removed = budget < all;
        while budget > 0 {
            let Some(index) = self.due.pop_front() else {
                break;
            };
            self.queued[index] = false;
            while budget > 0 && self.remove_first(tables, &mut lanes[index], now_ms)? {
                budget -= 1;
                removed = true;
            }
            if budget == 0 {
                self.enqueue(index);
            }
            budget = budget.saturating_sub(1);
        }
        Ok(removed)
    }

    /// Removes the oldest chunk if it has to go.
    fn remove_first(
        &self,
        tables: &mut Tables<'_>,
        lane: &mut Lane,
        now_ms: i64,
    ) -> Result<bool, redb::Error> {
        let range = chunk_key(lane.topic, lane.partition, 0)
            ..=chunk_key(lane.topic, lane.partition, u64::MAX);
        let first = tables
            .chunks
            .range(range)?
            .next()
            .transpose()?
            .map(|(key, chunk)| {
                let info = ChunkInfo::of(chunk.value()).ok();
                (
                    chunk_offset(&key.value()),
                    info.map_or(i64::MIN, |info| info.max_timestamp),
                )
            });
        let Some((last, newest)) = first else {
            return Ok(false);
        };
        let old = newest < now_ms.saturating_sub(self.retention_ms);
        // By size the newest chunk is never removed.
        if !old && (!self.over(lane) || last + 1 == lane.staged.end) {
            return Ok(false);
        }
        lane.remove(tables, last)?;
        lane.staged.earliest = last + 1;
        Ok(true)
    }
}

/// Removes tombstones whose time is over. Returns whether there are more.
fn sweep_tombstones(
    tables: &mut Tables<'_>,
    lanes: &mut [Lane],
    now_ms: i64,
    budget: &mut usize,
) -> Result<bool, redb::Error> {
    while *budget > 0 {
        let Some(entry) = tables.tombstones.first()?.map(|(entry, _)| entry.value()) else {
            return Ok(false);
        };
        let (due, at) = entry.split_at(8);
        if u64::from_be_bytes(due.try_into().expect("eight bytes")) > now_ms.max(0).cast_unsigned()
        {
            return Ok(false);
        }
        tables.tombstones.remove(entry)?;
        *budget -= 1;
        let lane = lanes
            .iter_mut()
            .find(|l| lane_key(l.topic, l.partition) == at[..5]);
        let (Some(lane), Ok(at)) = (lane, <&[u8; 13]>::try_from(at)) else {
            continue;
        };
        let offset = chunk_offset(at);
        // A newer record of the key has taken its place otherwise.
        let Some(key) = record_key(tables, lane, offset)? else {
            continue;
        };
        lane.remove(tables, offset)?;
        tables.keys.remove(key.as_slice())?;
    }
    Ok(true)
}

/// The entry of [`KEYS`](super::store::KEYS) that leads to the only record of a chunk.
fn record_key(
    tables: &Tables<'_>,
    lane: &Lane,
    offset: u64,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let Some(chunk) = tables
        .chunks
        .get(chunk_key(lane.topic, lane.partition, offset))?
    else {
        return Ok(None);
    };
    let mut builder = crate::BatchBuilder::new(lane.topic, lane.partition);
    if builder.push_chunk(chunk.value(), 0).is_err() {
        return Ok(None);
    }
    let batch = builder.build(offset + 1);
    let mut key = lane_key(lane.topic, lane.partition).to_vec();
    key.extend_from_slice(batch.get(0).map(|r| r.key).unwrap_or_default());
    Ok(Some(key))
}
