//! The reader of a target that is behind: one batch at a time, as it is asked for.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{Batch, LogError, Topic};
use laneway_tenancy::DestinationId;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::shared::Shared;

const RETRY: Duration = Duration::from_millis(500);

/// A batch for a target, of the reading with this number.
pub struct Read {
    pub target: DestinationId,
    pub serial: u64,
    pub batch: Batch,
}

/// Reads for a target as long as it is kept.
pub struct Reading {
    pub serial: u64,
    more: mpsc::Sender<()>,
    _stop: DropGuard,
}

struct Reader {
    shared: Arc<Shared>,
    target: DestinationId,
    serial: u64,
    partition: u32,
    at: u64,
    batches: mpsc::Sender<Read>,
    asked: mpsc::Receiver<()>,
}

impl Reading {
    pub fn start(
        shared: &Arc<Shared>,
        (target, serial): (DestinationId, u64),
        (partition, at): (u32, u64),
        batches: mpsc::Sender<Read>,
    ) -> Self {
        let (more, asked) = mpsc::channel(1);
        let reader = Reader {
            shared: Arc::clone(shared),
            target,
            serial,
            partition,
            at,
            batches,
            asked,
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = reader.run() => {}
            }
        });
        Reading {
            serial,
            more,
            _stop: stop.drop_guard(),
        }
    }

    /// Asks for the next batch.
    pub fn more(&self) {
        // Asked already is as good.
        let _ = self.more.try_send(());
    }
}

impl Reader {
    async fn run(mut self) {
        loop {
            match self.read().await {
                Ok(()) => return,
                Err(LogError::OutOfRange { earliest, .. }) if earliest > self.at => {
                    let lost = earliest - self.at;
                    tracing::error!(destination = %self.target, lane = self.partition, lost, "a destination was overtaken by retention: it never gets these offsets");
                    metrics::counter!("laneway_sink_expired_total").increment(lost);
                    self.at = earliest;
                }
                Err(error) => {
                    tracing::warn!(destination = %self.target, lane = self.partition, %error, "reading for a destination failed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), LogError> {
        let Ok(_permit) = Arc::clone(&self.shared.readers).acquire_owned().await else {
            return Ok(());
        };
        let from = vec![(self.partition, self.at)];
        let mut reader = self
            .shared
            .deps
            .log
            .reader(Topic::TenantStreams, from)
            .await?;
        loop {
            let batch = reader.next().await?;
            if batch.next_offset() <= self.at && batch.is_empty() {
                continue;
            }
            self.at = batch.next_offset();
            let read = Read {
                target: self.target,
                serial: self.serial,
                batch,
            };
            if self.batches.send(read).await.is_err() || self.asked.recv().await.is_none() {
                return Ok(());
            }
        }
    }
}
