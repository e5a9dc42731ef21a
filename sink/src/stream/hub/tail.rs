//! The task behind the hub: reads, dispatches, and joins subscribers between two batches.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{Batch, Log, LogError, Reader, Topic};
use laneway_runtime::Lifecycle;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::dispatch::Index;
use super::{Join, Joined, Tails};
use crate::stream::history::History;
use crate::stream::subscriber::Subscriber;

/// How long a closed subscriber may keep its partition read.
const SWEEP: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(500);

pub struct Tail {
    log: Arc<dyn Log>,
    history: Arc<History>,
    tails: Arc<Tails>,
    joins: mpsc::Receiver<Join>,
    index: Index,
    /// `None` until somebody joins, and while the log is out of reach.
    reader: Option<Box<dyn Reader>>,
}

impl Tail {
    pub(super) fn new(
        log: Arc<dyn Log>,
        history: Arc<History>,
        tails: Arc<Tails>,
        joins: mpsc::Receiver<Join>,
    ) -> Self {
        Tail {
            log,
            history,
            tails,
            joins,
            index: Index::default(),
            reader: None,
        }
    }

    /// Runs until the drain. Trouble with the log is retried: subscribers wait meanwhile.
    pub async fn run(mut self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => return Ok(()),
                join = self.joins.recv() => match join {
                    Some(join) => self.join(join),
                    None => return Ok(()),
                },
                _ = sweep.tick() => self.sweep(),
                batch = next(&mut self.reader, &self.log, &self.index, &self.tails) => match batch {
                    Ok(batch) => self.dispatch(batch).await,
                    Err(error) => self.failed(error).await,
                },
            }
        }
    }

    fn join(&mut self, join: Join) {
        let joined = self.try_join(&join.subscriber, &join.cursors);
        // A connection that is gone is swept.
        let _ = join.reply.send(joined);
    }

    fn try_join(&mut self, subscriber: &Arc<Subscriber>, cursors: &[(u32, u64)]) -> Joined {
        let cursor = |lane: u32| cursors.iter().find(|(l, _)| *l == lane).map(|(_, c)| *c);
        let lanes = &subscriber.lanes;
        let unread: Vec<u32> = lanes
            .iter()
            .copied()
            .filter(|lane| !self.index.has(*lane) && cursor(*lane).is_none())
            .collect();
        if !unread.is_empty() {
            return Joined::Unread(unread);
        }
        for lane in lanes.iter().copied() {
            if let (true, Some(cursor)) = (self.index.add(lane, subscriber), cursor(lane)) {
                self.tails.set(lane, cursor);
                // A reader that is not there yet, or not any more, is opened with all partitions.
                if let Some(Err(error)) = self.reader.as_mut().map(|r| r.assign(lane, cursor)) {
                    tracing::warn!(%error, lane, "a partition cannot be added to the live tail; opening it anew");
                    self.reader = None;
                }
            }
        }
        subscriber.attach();
        let at = lanes.iter().map(|lane| (*lane, self.tails.next(*lane)));
        Joined::At(at.collect())
    }

    async fn dispatch(&mut self, batch: Batch) {
        let partition = batch.partition();
        let from = self.tails.next(partition);
        if !self.index.has(partition) || batch.next_offset() <= from {
            return;
        }
        for full in self.index.dispatch(&batch, from, &self.history).await {
            let at = full.subscriber.lanes.iter().map(|lane| {
                (
                    *lane,
                    if *lane == partition {
                        full.at
                    } else {
                        self.tails.next(*lane)
                    },
                )
            });
            full.subscriber.detach(at.collect());
            metrics::counter!("laneway_stream_fell_back_total").increment(1);
        }
        self.tails.set(partition, batch.next_offset());
    }

    fn sweep(&mut self) {
        self.history.sweep();
        for partition in self.index.sweep() {
            self.tails.clear(partition);
            if let Some(Err(error)) = self.reader.as_mut().map(|r| r.unassign(partition)) {
                tracing::warn!(%error, partition, "a partition cannot be taken from the live tail; opening it anew");
                self.reader = None;
            }
        }
    }

    async fn failed(&mut self, error: LogError) {
        self.reader = None;
        if let LogError::OutOfRange {
            partition,
            earliest,
            ..
        } = error
        {
            tracing::warn!(
                partition,
                earliest,
                "the live tail was overtaken by retention"
            );
            self.tails.set(partition, earliest);
            return;
        }
        tracing::warn!(%error, "reading the live tail failed; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

/// The next batch, from a reader that is opened where there is none. Waits for ever where
/// nobody has joined: the loop comes back after each join.
async fn next(
    reader: &mut Option<Box<dyn Reader>>,
    log: &Arc<dyn Log>,
    index: &Index,
    tails: &Tails,
) -> Result<Batch, LogError> {
    if reader.is_none() {
        let from: Vec<(u32, u64)> = index.partitions().map(|p| (p, tails.next(p))).collect();
        if from.is_empty() {
            return std::future::pending().await;
        }
        *reader = Some(log.reader(Topic::TenantStreams, from).await?);
    }
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}
