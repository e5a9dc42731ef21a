//! A subscriber's own reading: from its cursor to where it joins the live tail.
//!
//! All lanes are read until each has reached its end once; then the subscriber joins the tail
//! in all of them at one point between two batches, and what lies between its cursor and that
//! point is read to the offset. So there is no gap and no repeat, whatever is appended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{Batch, LogError, Reader, Topic};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::StreamContext;
use super::hub::Joined;
use super::hub::push;
use super::subscriber::Subscriber;
use crate::event::{CHUNK_BYTES, Chunk, ChunkBuilder, Facts};

/// A reader is given back after as many bytes, so that those who wait for one get their turn.
const TURN_BYTES: usize = 16 << 20;
/// … or when its subscriber takes nothing for so long.
const PATIENCE: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub enum Step {
    /// Events that the filter wants.
    Chunk(Arc<Chunk>),
    /// Nothing that the filter wants lies below `next`.
    Passed { lane: u32, next: u64 },
    /// Everything up to where the subscriber's queue begins has been sent.
    Joined,
}

struct Lane {
    lane: u32,
    next: u64,
    /// The lane's end when it was opened.
    end: u64,
    /// Where the subscriber's queue begins, once it has joined.
    until: Option<u64>,
}

pub struct CatchUp {
    context: Arc<StreamContext>,
    subscriber: Arc<Subscriber>,
    lanes: Vec<Lane>,
    steps: mpsc::Sender<Result<Step, LogError>>,
}

/// Why a turn with a reader ended.
enum Turn {
    Done,
    Again,
}

impl CatchUp {
    /// Starts reading from these offsets. Ends when the receiver is dropped.
    pub fn start(
        context: &Arc<StreamContext>,
        subscriber: &Arc<Subscriber>,
        from: &[(u32, u64)],
    ) -> mpsc::Receiver<Result<Step, LogError>> {
        let (steps, receiver) = mpsc::channel(2);
        let lanes = from
            .iter()
            .map(|(lane, next)| Lane {
                lane: *lane,
                next: *next,
                end: 0,
                until: None,
            })
            .collect();
        let catch_up = CatchUp {
            context: Arc::clone(context),
            subscriber: Arc::clone(subscriber),
            lanes,
            steps,
        };
        let stop = context.stop.clone();
        context.tasks.spawn(async move {
            let steps = catch_up.steps.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = steps.closed() => {}
                () = catch_up.run() => {}
            }
        });
        receiver
    }

    async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(Turn::Done) => return,
                Ok(Turn::Again) => {}
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "reading history failed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    // A receiver that is gone has no use for the reason.
                    let _ = self.steps.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Reads with one of the process's readers until everything is read, or it is another's turn.
    async fn turn(&mut self) -> Result<Turn, LogError> {
        let Ok(permit) = Arc::clone(&self.context.readers).acquire_owned().await else {
            return Ok(Turn::Done);
        };
        let mut reader = self.open().await?;
        let mut read = 0;
        loop {
            if self
                .lanes
                .iter()
                .all(|l| l.next >= l.until.unwrap_or(l.end))
            {
                if self.lanes.iter().all(|l| l.until.is_some()) {
                    let _ = self.steps.send(Ok(Step::Joined)).await;
                    return Ok(Turn::Done);
                }
                if !self.join().await {
                    return Ok(Turn::Done);
                }
                continue;
            }
            if read >= TURN_BYTES {
                return Ok(Turn::Again);
            }
            let batch = reader.next().await?;
            read += batch.bytes();
            if let Some(step) = self.take(&batch).await {
                // The reader goes to another while this subscriber takes its time.
                drop(reader);
                drop(permit);
                let _ = self.steps.send(Ok(step)).await;
                return Ok(Turn::Again);
            }
        }
    }

    async fn open(&mut self) -> Result<Box<dyn Reader>, LogError> {
        for lane in &mut self.lanes {
            let bounds = self
                .context
                .log
                .bounds(Topic::TenantStreams, lane.lane)
                .await?;
            lane.end = bounds.last_stable;
        }
        let from = self.lanes.iter().map(|l| (l.lane, l.next)).collect();
        self.context.log.reader(Topic::TenantStreams, from).await
    }

    async fn join(&mut self) -> bool {
        let cursors = self.lanes.iter().map(|l| (l.lane, l.next)).collect();
        // A cursor is given for every lane.
        let Ok(Joined::At(at)) = self
            .context
            .hub
            .join(Arc::clone(&self.subscriber), cursors)
            .await
        else {
            return false;
        };
        for (lane, until) in at {
            if let Some(l) = self.lanes.iter_mut().find(|l| l.lane == lane) {
                l.until = Some(until);
            }
        }
        true
    }

    /// Sends what is wanted of a batch; gives back what the subscriber does not take in time.
    /// The batch is then read again from there.
    async fn take(&mut self, batch: &Batch) -> Option<Step> {
        let at = self
            .lanes
            .iter()
            .position(|l| l.lane == batch.partition())?;
        let (lane, from) = (self.lanes[at].lane, self.lanes[at].next);
        let until = self.lanes[at].until.unwrap_or(u64::MAX);
        let end = batch.next_offset().min(until);
        if end <= from {
            return None;
        }
        let mut builder = ChunkBuilder::new(self.subscriber.generation, lane, from);
        for record in batch
            .iter()
            .filter(|r| r.offset >= from && r.offset < until)
        {
            let Some(facts) = Facts::of(&record) else {
                continue;
            };
            // A lane is shared: the tenant is checked on every record.
            if facts.tenant != self.subscriber.tenant || !self.subscriber.filter.matches(&facts) {
                continue;
            }
            push(&mut builder, &self.context.codecs, &facts, &record).await;
            if builder.bytes() >= CHUNK_BYTES {
                let next = record.offset + 1;
                let sealed = std::mem::replace(
                    &mut builder,
                    ChunkBuilder::new(self.subscriber.generation, lane, next),
                );
                self.lanes[at].next = next;
                let late = self.send(Step::Chunk(Arc::new(sealed.build(next)))).await;
                if late.is_some() {
                    return late;
                }
            }
        }
        self.lanes[at].next = end;
        if builder.is_empty() {
            self.send(Step::Passed { lane, next: end }).await
        } else {
            self.send(Step::Chunk(Arc::new(builder.build(end)))).await
        }
    }

    async fn send(&self, step: Step) -> Option<Step> {
        match timeout(PATIENCE, self.steps.reserve()).await {
            Ok(Ok(slot)) => {
                slot.send(Ok(step));
                None
            }
            // Closed: the task ends at its next turn.
            Ok(Err(_)) => None,
            Err(_) => Some(step),
        }
    }
}
