//! A membership of the projection's group, from joining to leaving.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{
    Batch, Committer, Epoch, GroupSpec, LogError, MemberEvent, Records, Topic, Unit,
};
use laneway_runtime::Lifecycle;
use laneway_schemas::RegistryError;
use laneway_store::ProjectionBatch;
use tokio::time::MissedTickBehavior;

use super::rows::add;
use super::{AGAIN, Projection, ProjectionError};

const GROUP: &str = "projection";
/// The group's offsets only tell the lag.
const COMMIT: Duration = Duration::from_secs(5);
/// Of the topics: counts their placements, of which there has been one.
const GENERATION: u32 = 1;

struct Session<'a> {
    projection: &'a Projection,
    lifecycle: &'a Lifecycle,
    committer: Arc<dyn Committer>,
    epoch: Epoch,
    /// What is to be written next, by partition. It begins where the store is.
    open: HashMap<u32, ProjectionBatch>,
    /// What the group is told next.
    told: HashMap<u32, u64>,
}

pub async fn run(projection: &Projection, lifecycle: &Lifecycle) -> Result<(), ProjectionError> {
    let linger = Duration::from_millis(projection.settings.linger_ms.max(1));
    let spec = GroupSpec {
        fetch_wait: linger,
        ..GroupSpec::new(GROUP, &[Topic::TenantStreams], &projection.instance)
    };
    let mut member = projection.log.join(spec).await?;
    let mut session = Session {
        projection,
        lifecycle,
        committer: member.committer(),
        epoch: Epoch(0),
        open: HashMap::default(),
        told: HashMap::default(),
    };
    let mut flush = tokio::time::interval(linger);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut commit = tokio::time::interval(COMMIT);
    commit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => {
                session.flush_all().await?;
                session.commit().await?;
                member.leave().await;
                return Ok(());
            }
            event = member.next() => session.event(event?).await?,
            _ = flush.tick() => session.flush_all().await?,
            _ = commit.tick() => session.commit().await?,
        }
    }
}

impl Session<'_> {
    async fn event(&mut self, event: MemberEvent) -> Result<(), ProjectionError> {
        match event {
            MemberEvent::Assigned { partitions, epoch } => {
                self.epoch = epoch;
                let committed = self
                    .projection
                    .log
                    .committed(GROUP, Topic::TenantStreams)
                    .await?;
                for partition in partitions {
                    let committed = committed.get(partition as usize).copied().flatten();
                    self.begin(partition, committed).await?;
                }
                self.projection.set_trouble(None);
            }
            MemberEvent::Records(batch) => self.records(&batch).await?,
            MemberEvent::Revoked { partitions, done } => {
                for partition in &partitions {
                    self.flush(*partition).await?;
                }
                self.commit().await?;
                for partition in partitions {
                    self.open.remove(&partition);
                }
                drop(done);
            }
            MemberEvent::Lost { partitions } => {
                for partition in partitions {
                    self.open.remove(&partition);
                    self.told.remove(&partition);
                }
            }
        }
        Ok(())
    }

    /// Begins where the store is. The group's offset is usually at or below it; where the store
    /// is behind (it was restored from a backup), what lies between is read first.
    async fn begin(
        &mut self,
        partition: u32,
        committed: Option<u64>,
    ) -> Result<(), ProjectionError> {
        let projection = self.projection;
        let bounds = projection
            .log
            .bounds(Topic::TenantStreams, partition)
            .await?;
        let stored = projection
            .store
            .projected(&projection.authority, GENERATION, partition)
            .await?;
        let mut at = stored.unwrap_or(bounds.earliest);
        if at > bounds.end {
            tracing::error!(
                partition,
                at,
                end = bounds.end,
                "the store is ahead of the log: projecting what the log has"
            );
            let back = self.batch(partition, at, bounds.earliest);
            projection
                .store
                .project(&projection.authority, back)
                .await?;
            at = bounds.earliest;
        }
        self.open.insert(partition, self.batch(partition, at, at));
        let start = committed.unwrap_or(bounds.earliest).max(bounds.earliest);
        if at < start && at < bounds.last_stable {
            let from = at.max(bounds.earliest);
            let mut reader = projection
                .log
                .reader(Topic::TenantStreams, vec![(partition, from)])
                .await?;
            while self
                .open
                .get(&partition)
                .is_some_and(|b| b.to_offset < start)
                && !self.lifecycle.is_draining()
            {
                self.records(&reader.next().await?).await?;
            }
        }
        Ok(())
    }

    fn batch(&self, partition: u32, from_offset: u64, to_offset: u64) -> ProjectionBatch {
        ProjectionBatch {
            generation: GENERATION,
            partition,
            from_offset,
            to_offset,
            ..ProjectionBatch::default()
        }
    }

    async fn records(&mut self, batch: &Batch) -> Result<(), ProjectionError> {
        let partition = batch.partition();
        let limit = self.projection.settings.batch_records.max(1);
        for record in batch.iter() {
            let Some(open) = self.open.get_mut(&partition) else {
                return Ok(());
            };
            if record.offset < open.to_offset {
                continue;
            }
            while let Err(error) = add(&self.projection.codecs, &record, open).await {
                self.projection.set_trouble(Some(error.to_string()));
                wait(self.lifecycle, error).await?;
            }
            open.to_offset = record.offset + 1;
            if open.positions.len() + open.sessions.len() >= limit {
                self.flush(partition).await?;
            }
        }
        if let Some(open) = self.open.get_mut(&partition) {
            open.to_offset = open.to_offset.max(batch.next_offset());
        }
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<(), ProjectionError> {
        let partitions: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, b)| b.to_offset > b.from_offset)
            .map(|(p, _)| *p)
            .collect();
        for partition in partitions {
            self.flush(partition).await?;
        }
        Ok(())
    }

    /// Writes what is open of a partition. While the store is away it waits: the log keeps.
    async fn flush(&mut self, partition: u32) -> Result<(), ProjectionError> {
        let Some(open) = self
            .open
            .get_mut(&partition)
            .filter(|b| b.to_offset > b.from_offset)
        else {
            return Ok(());
        };
        let projection = self.projection;
        loop {
            match projection
                .store
                .project(&projection.authority, open.clone())
                .await
            {
                Ok(()) => break,
                Err(error) if error.is_transient() && !self.lifecycle.is_draining() => {
                    projection.set_trouble(Some(error.to_string()));
                    tracing::warn!(%error, "the projection waits for the store");
                    tokio::time::sleep(AGAIN).await;
                }
                // Moved: another member has written. The next assignment reads where it is.
                Err(error) => return Err(error.into()),
            }
        }
        projection.set_trouble(None);
        self.told.insert(partition, open.to_offset);
        let to = open.to_offset;
        self.open.insert(partition, self.batch(partition, to, to));
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        if self.told.is_empty() {
            return Ok(());
        }
        let offsets = self
            .told
            .drain()
            .map(|(p, at)| (Topic::TenantStreams, p, at))
            .collect();
        self.committer
            .commit(Unit {
                epoch: self.epoch,
                records: Records::new(),
                offsets,
            })
            .await
    }
}

async fn wait(lifecycle: &Lifecycle, error: RegistryError) -> Result<(), LogError> {
    tracing::warn!(%error, "the projection waits for the schema registry");
    if lifecycle.is_draining() {
        return Err(LogError::Unavailable {
            doing: "projecting",
            reason: error.to_string(),
        });
    }
    tokio::time::sleep(AGAIN).await;
    Ok(())
}
