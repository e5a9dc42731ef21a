//! Reading on from positions, in turn over several partitions: what readers and members share.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Shared;
use super::partition::Found;
use crate::{Batch, BatchBuilder, LogError, Result, Topic};

/// What one read of the database gathers at most, but for a chunk that is larger by itself.
const READ_BYTES: usize = 1 << 20;

struct Lane {
    topic: Topic,
    partition: u32,
    offset: u64,
    /// Has said that it has caught up since its last record.
    told: bool,
}

/// A read of the database that goes on off the async threads.
struct Pending {
    topic: Topic,
    partition: u32,
    offset: u64,
    task: JoinHandle<Result<Batch>>,
}

pub(super) struct Cursor {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    turn: usize,
    pending: Option<Pending>,
    commits: watch::Receiver<u64>,
}

impl Cursor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let commits = shared.commits.subscribe();
        Cursor {
            shared,
            lanes: Vec::new(),
            turn: 0,
            pending: None,
            commits,
        }
    }

    fn lane(&mut self, topic: Topic, partition: u32) -> Option<&mut Lane> {
        self.lanes
            .iter_mut()
            .find(|l| l.topic == topic && l.partition == partition)
    }

    /// Adds a partition, or moves it.
    pub(super) fn set(&mut self, topic: Topic, partition: u32, offset: u64) {
        match self.lane(topic, partition) {
            Some(lane) => (lane.offset, lane.told) = (offset, false),
            None => self.lanes.push(Lane {
                topic,
                partition,
                offset,
                told: false,
            }),
        }
    }

    pub(super) fn has(&self, topic: Topic, partition: u32) -> bool {
        self.lanes
            .iter()
            .any(|l| l.topic == topic && l.partition == partition)
    }

    pub(super) fn remove(&mut self, topic: Topic, partition: u32) {
        self.lanes
            .retain(|l| l.topic != topic || l.partition != partition);
    }

    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }

    /// The next batch of any partition; `say_caught_up`: also empty ones, once each time that a
    /// partition has reached its end. Cancel-safe.
    pub(super) async fn next(&mut self, say_caught_up: bool) -> Result<Batch> {
        loop {
            tokio::task::consume_budget().await;
            // Before looking, so that a commit in between wakes the wait below.
            self.commits.borrow_and_update();
            if self.shared.is_closed() {
                return Err(LogError::Closed);
            }
            if let Some(batch) = self.finish_pending().await? {
                return Ok(batch);
            }
            if let Some(batch) = self.look(say_caught_up)? {
                return Ok(batch);
            }
            if self.pending.is_none() && self.commits.changed().await.is_err() {
                return Err(LogError::Closed);
            }
        }
    }

    /// What the read under way has found, unless its partition has been moved or taken away.
    async fn finish_pending(&mut self) -> Result<Option<Batch>> {
        let Some(pending) = &mut self.pending else {
            return Ok(None);
        };
        let read = (&mut pending.task).await;
        let Some(Pending {
            topic,
            partition,
            offset,
            ..
        }) = self.pending.take()
        else {
            return Ok(None);
        };
        let batch = match read {
            Ok(batch) => batch,
            Err(e) => {
                return Err(LogError::Fatal(format!(
                    "a read of {topic}[{partition}] died: {e}"
                )));
            }
        };
        match self.lane(topic, partition) {
            Some(lane) if lane.offset == offset => {
                let batch = batch?;
                (lane.offset, lane.told) = (batch.next_offset(), false);
                Ok((!batch.is_empty()).then_some(batch))
            }
            _ => Ok(None),
        }
    }

    /// Looks at each partition once, beginning with the one whose turn it is.
    fn look(&mut self, say_caught_up: bool) -> Result<Option<Batch>> {
        for step in 0..self.lanes.len() {
            let at = (self.turn + step) % self.lanes.len();
            let lane = &mut self.lanes[at];
            let (topic, partition, offset) = (lane.topic, lane.partition, lane.offset);
            let found = self.shared.partition(topic, partition)?.find(offset);
            if !matches!(found, Ok(Found::CaughtUp)) {
                self.turn = at + 1;
            }
            match found? {
                Found::CaughtUp if say_caught_up && !lane.told => {
                    lane.told = true;
                    self.turn = at + 1;
                    return Ok(Some(BatchBuilder::new(topic, partition).build(offset)));
                }
                Found::CaughtUp => {}
                Found::Tail(batch) => {
                    (lane.offset, lane.told) = (batch.next_offset(), false);
                    return Ok(Some(batch));
                }
                Found::Stored => {
                    let shared = Arc::clone(&self.shared);
                    let task = tokio::task::spawn_blocking(move || {
                        read_stored(&shared, topic, partition, offset)
                    });
                    self.pending = Some(Pending {
                        topic,
                        partition,
                        offset,
                        task,
                    });
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

/// Reads records at and after `offset` from the database. Blocks.
fn read_stored(shared: &Shared, topic: Topic, partition: u32, offset: u64) -> Result<Batch> {
    use super::store::{CHUNKS, PARTITIONS, Row, chunk_key, chunk_offset, lane_key};

    const DOING: &str = "reading records";
    let store = &shared.store;
    let fail = |e: redb::Error| store.error(DOING, e);
    let tx = store.read(DOING)?;
    let rows = tx.open_table(PARTITIONS).map_err(|e| fail(e.into()))?;
    let row = rows
        .get(&lane_key(topic, partition))
        .map_err(|e| fail(e.into()))?;
    let row = row.map(|r| Row::unpack(&r.value())).unwrap_or_default();
    if offset < row.earliest {
        return Err(shared.partition(topic, partition)?.out_of_range(offset));
    }
    let chunks = tx.open_table(CHUNKS).map_err(|e| fail(e.into()))?;
    let from = chunk_key(topic, partition, offset);
    let mut builder = BatchBuilder::new(topic, partition);
    for entry in chunks
        .range(from..=chunk_key(topic, partition, u64::MAX))
        .map_err(|e| fail(e.into()))?
    {
        let (key, chunk) = entry.map_err(|e| fail(e.into()))?;
        let last = chunk_offset(&key.value());
        builder
            .push_chunk(chunk.value(), offset)
            .map_err(|e| shared.damaged(topic, partition, last, e))?;
        if builder.bytes() >= READ_BYTES {
            return Ok(builder.build(last + 1));
        }
    }
    // Past the last record of a compacted topic there may be removed ones.
    Ok(builder.build(row.end))
}
