//! A member's partitions, its open unit, and the commit in flight: what an assignment amounts
//! to until it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use laneway_log::{Batch, Committer, Epoch, Log, LogError};
use laneway_schemas::DecodeError;
use tokio::task::JoinHandle;

use crate::health::Health;
use crate::partition::Partition;
use crate::processor::{GROUP, TOPICS};
use crate::restore::restore;
use crate::settings::ProcessorSettings;
use crate::shared::Shared;
use crate::unit::OpenUnit;
use crate::waits::{Over, wait};

/// Why work cannot go on as it is.
#[derive(Debug)]
pub enum Halt {
    /// Nothing of the open unit counts: leave, forget, join anew.
    Rejoin(String),
    /// The process has to stop.
    Fatal(anyhow::Error),
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref::<LogError>() {
            Some(
                LogError::Fatal(_)
                | LogError::Config(_)
                | LogError::Topic { .. }
                | LogError::Corrupt { .. }
                | LogError::Closed,
            ) => Halt::Fatal(error),
            Some(_) => Halt::Rejoin(format!("{error:#}")),
            None => match error.downcast_ref::<DecodeError>() {
                Some(decode) if !decode.is_fault_of_record() => Halt::Rejoin(format!("{error:#}")),
                _ => Halt::Fatal(error),
            },
        }
    }
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        anyhow::Error::new(error).into()
    }
}

pub struct Work<'a> {
    pub shared: &'a mut Shared,
    pub settings: &'a ProcessorSettings,
    pub health: &'a Health,
    pub log: &'a dyn Log,
    pub committer: Arc<dyn Committer>,
    pub epoch: Epoch,
    pub partitions: BTreeMap<u32, Partition>,
    pub unit: OpenUnit,
    pub in_flight: Option<JoinHandle<Result<(), LogError>>>,
    pub waits: FuturesUnordered<BoxFuture<'static, Over>>,
    /// Batches in the partitions' queues.
    pub queued: usize,
}

impl Work<'_> {
    pub async fn assign(&mut self, numbers: &[u32], epoch: Epoch) -> Result<(), Halt> {
        self.epoch = epoch;
        if numbers.is_empty() {
            return Ok(());
        }
        let restored = restore(self.log, numbers, GROUP, TOPICS, self.shared).await?;
        let devices: usize = restored.iter().map(|p| p.devices.len()).sum();
        tracing::info!(partitions = ?numbers, devices, epoch = epoch.0, "partitions assigned and restored");
        self.partitions
            .extend(restored.into_iter().map(|p| (p.number, p)));
        Ok(())
    }

    pub fn accept(&mut self, batch: Batch) {
        let Some(partition) = self.partitions.get_mut(&batch.partition()) else {
            return;
        };
        partition.queue.push_back((batch, 0));
        self.queued += 1;
    }

    /// Whether the unit should not grow any more.
    pub fn is_full(&self, now: Instant) -> bool {
        self.unit.inputs >= self.settings.max_unit_records
            || self.unit.age_ms(now) >= u128::from(self.settings.max_unit_ms)
    }

    /// Takes what is queued into the unit, as far as it may grow.
    pub fn pump(&mut self, now: Instant) -> Result<(), Halt> {
        if self.queued == 0 || self.is_full(now) {
            return Ok(());
        }
        self.queued = 0;
        for partition in self.partitions.values_mut() {
            let waited = partition.wait.is_some();
            let pumped =
                partition.pump(self.settings.max_unit_records, self.shared, &mut self.unit);
            pumped.map_err(|error| Halt::Fatal(anyhow::Error::new(error)))?;
            if let Some(what) = partition.wait.filter(|_| !waited) {
                let (directory, codecs) = (
                    Arc::clone(&self.shared.directory),
                    Arc::clone(&self.shared.codecs),
                );
                self.waits.push(wait(
                    partition.number,
                    what,
                    directory,
                    codecs,
                    self.health.clone(),
                ));
            }
            self.queued += partition.queue.len();
        }
        if !self.unit.is_empty() {
            self.unit.opened(now);
        }
        Ok(())
    }

    pub fn wait_is_over(&mut self, over: &Over) {
        if let (true, crate::partition::Wait::Schema(id)) = (over.no_such_schema, over.wait) {
            self.shared.unreadable(id);
        }
        let partition = self
            .partitions
            .get_mut(&over.partition)
            .filter(|p| p.wait == Some(over.wait));
        if let Some(partition) = partition {
            partition.wait = None;
        }
    }

    /// Ends the open unit and begins to commit it; none may be in flight.
    pub fn begin_commit(&mut self) -> Result<(), Halt> {
        for partition in self.partitions.values_mut() {
            let finished = partition.finish(self.shared, &mut self.unit.records);
            finished.map_err(|error| Halt::Fatal(anyhow::Error::new(error)))?;
        }
        let Shared {
            counts, emitter, ..
        } = &mut *self.shared;
        counts.publish(&mut emitter.counts);
        let unit = self.unit.take(self.epoch);
        self.in_flight = Some(tokio::spawn(self.committer.commit(unit)));
        Ok(())
    }

    /// Waits for the commit in flight, if any.
    pub async fn finish_commit(&mut self) -> Result<(), Halt> {
        match self.in_flight.take() {
            Some(commit) => committed(commit.await),
            None => Ok(()),
        }
    }

    /// Commits everything that was taken.
    pub async fn flush(&mut self) -> Result<(), Halt> {
        self.finish_commit().await?;
        if !self.unit.is_empty() {
            self.begin_commit()?;
            self.finish_commit().await?;
        }
        Ok(())
    }

    /// Writes a tick where idle closes wait for one.
    pub fn tick(&mut self, now_us: i64) -> Result<(), Halt> {
        for partition in self.partitions.values_mut() {
            if partition.wants_tick(now_us, self.shared.idle_close_us) {
                let ticked = partition.tick(now_us, self.shared, &mut self.unit);
                ticked.map_err(|error| Halt::Fatal(anyhow::Error::new(error)))?;
            }
        }
        Ok(())
    }

    /// Forgets partitions that are another member's now.
    pub fn forget(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.partitions.remove(number);
            self.health.goes_on(*number);
        }
        self.queued = self.partitions.values().map(|p| p.queue.len()).sum();
    }
}

/// What a commit in flight came to.
pub fn committed(result: Result<Result<(), LogError>, tokio::task::JoinError>) -> Result<(), Halt> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ (LogError::Fatal(_) | LogError::TooLarge { .. }))) => Err(Halt::Fatal(
            anyhow::Error::new(error).context("committing a unit of the processor"),
        )),
        Ok(Err(error)) => Err(Halt::Rejoin(format!(
            "committing a unit of the processor: {error}"
        ))),
        Err(panic) => Err(Halt::Fatal(
            anyhow::Error::new(panic).context("committing a unit of the processor"),
        )),
    }
}
