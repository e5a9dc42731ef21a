//! A membership of the projection's group, from joining to leaving.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{Batch, Committer, Epoch, GroupSpec, MemberEvent, Topic};
use laneway_runtime::Lifecycle;
use laneway_store::ProjectionBatch;

use super::Projection;
use super::rows::add;
use crate::stored::{COMMIT, GENERATION, StoredError, Told, every};

const GROUP: &str = "projection";

struct Session<'a> {
    projection: &'a Projection,
    lifecycle: &'a Lifecycle,
    committer: Arc<dyn Committer>,
    epoch: Epoch,
    /// What is to be written next, by partition. It begins where the store is.
    open: HashMap<u32, ProjectionBatch>,
    told: Told,
}

pub async fn run(projection: &Projection, lifecycle: &Lifecycle) -> Result<(), StoredError> {
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
        told: Told::default(),
    };
    let (mut flush, mut commit) = (every(linger), every(COMMIT));
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
    async fn event(&mut self, event: MemberEvent) -> Result<(), StoredError> {
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
                self.projection.part.is_well();
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
                self.told.forget(&partitions);
                for partition in partitions {
                    self.open.remove(&partition);
                }
            }
        }
        Ok(())
    }

    /// Begins where the store is. The group's offset is usually at or below it; where the store
    /// is behind (it was restored from a backup), what lies between is read first.
    async fn begin(&mut self, partition: u32, committed: Option<u64>) -> Result<(), StoredError> {
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

    async fn records(&mut self, batch: &Batch) -> Result<(), StoredError> {
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
                let part = &self.projection.part;
                part.wait_for_registry(self.lifecycle, error).await?;
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

    async fn flush_all(&mut self) -> Result<(), StoredError> {
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
    async fn flush(&mut self, partition: u32) -> Result<(), StoredError> {
        let Some(open) = self
            .open
            .get_mut(&partition)
            .filter(|b| b.to_offset > b.from_offset)
        else {
            return Ok(());
        };
        let projection = self.projection;
        while let Err(error) = projection
            .store
            .project(&projection.authority, open.clone())
            .await
        {
            let part = &projection.part;
            part.wait_for_store(self.lifecycle, error).await?;
        }
        projection.part.is_well();
        self.told
            .next(Topic::TenantStreams, partition, open.to_offset);
        let to = open.to_offset;
        self.open.insert(partition, self.batch(partition, to, to));
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), StoredError> {
        Ok(self.told.commit(&*self.committer, self.epoch).await?)
    }
}
