//! A membership of metering's group, from joining to leaving.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{Batch, Committer, Epoch, GroupSpec, MemberEvent, Topic};
use laneway_runtime::Lifecycle;
use laneway_store::UsageBatch;

use super::count::{Open, Seen};
use super::warning::Warner;
use super::{Counted, Metering};
use crate::stored::{COMMIT, GENERATION, StoredError, Told, every};

/// How often quotas are looked at for warnings.
const WARN: Duration = Duration::from_secs(1);

struct Session<'a> {
    metering: &'a Metering,
    counted: Counted,
    lifecycle: &'a Lifecycle,
    committer: Arc<dyn Committer>,
    epoch: Epoch,
    /// What is to be written next. It begins where the store is.
    open: HashMap<(Topic, u32), Open>,
    seen: Seen,
    warner: Warner,
    told: Told,
}

pub(super) async fn run(
    metering: &Metering,
    counted: Counted,
    lifecycle: &Lifecycle,
) -> Result<(), StoredError> {
    let deps = &metering.deps;
    let linger = Duration::from_millis(deps.settings.linger_ms.max(1));
    let spec = GroupSpec {
        set: deps.set,
        fetch_wait: linger,
        ..GroupSpec::new(counted.group(), counted.topics(), &deps.instance)
    };
    let mut member = deps.log.join(spec).await?;
    let mut session = Session {
        metering,
        counted,
        lifecycle,
        committer: member.committer(),
        epoch: Epoch(0),
        open: HashMap::default(),
        seen: Seen::default(),
        warner: Warner::default(),
        told: Told::default(),
    };
    let (mut flush, mut commit, mut warn) = (every(linger), every(COMMIT), every(WARN));
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
            _ = warn.tick(), if counted == Counted::Accepted => session.warn().await?,
        }
    }
}

impl Session<'_> {
    async fn event(&mut self, event: MemberEvent) -> Result<(), StoredError> {
        match event {
            MemberEvent::Assigned { partitions, epoch } => {
                self.epoch = epoch;
                let group = self.counted.group();
                for topic in self.counted.topics().iter().copied() {
                    let committed = self.metering.deps.log.committed(group, topic).await?;
                    for partition in &partitions {
                        let committed = committed.get(*partition as usize).copied().flatten();
                        self.begin(topic, *partition, committed).await?;
                    }
                }
                self.metering.part(self.counted).is_well();
            }
            MemberEvent::Records(batch) => self.records(&batch).await?,
            MemberEvent::Revoked { partitions, done } => {
                self.flush(|(_, partition)| partitions.contains(&partition))
                    .await?;
                self.commit().await?;
                self.give_up(&partitions);
                drop(done);
            }
            MemberEvent::Lost { partitions } => {
                self.give_up(&partitions);
                // Some of them may have been of what is not written now.
                self.seen.forget();
            }
        }
        Ok(())
    }

    fn give_up(&mut self, partitions: &[u32]) {
        self.open.retain(|(_, p), _| !partitions.contains(p));
        self.told.forget(partitions);
    }

    /// Begins where the store is. The group's offset is usually at or below it; where the store
    /// is behind (it was restored from a backup), what lies between is read first.
    async fn begin(
        &mut self,
        topic: Topic,
        partition: u32,
        committed: Option<u64>,
    ) -> Result<(), StoredError> {
        let deps = &self.metering.deps;
        let stored = deps
            .store
            .metered(&deps.authority, GENERATION, topic.name(), partition)
            .await?;
        // Asked second: by then others may have gone on, in the log as in the store.
        let bounds = deps.log.bounds(topic, partition).await?;
        let mut at = stored.unwrap_or(bounds.earliest);
        if at > bounds.end {
            tracing::error!(%topic, partition, at, end = bounds.end,
                "the store has counted more than the log has: counting goes on with what comes");
            let mut back = Open::at(GENERATION, topic, partition, at, bounds.end);
            deps.store.meter(&deps.authority, back.batch()).await?;
            at = bounds.end;
        }
        if at < bounds.earliest {
            tracing::error!(%topic, partition, at, earliest = bounds.earliest,
                "records have expired before they were counted");
        }
        let key = (topic, partition);
        self.open
            .insert(key, Open::at(GENERATION, topic, partition, at, at));
        // An earlier owner may have been killed before it told the group.
        self.told.next(topic, partition, at);
        let start = committed.unwrap_or(bounds.earliest).max(bounds.earliest);
        if at < start && at < bounds.last_stable {
            let from = at.max(bounds.earliest);
            let mut reader = deps.log.reader(topic, vec![(partition, from)]).await?;
            let behind = |open: &Open| open.batch.to_offset < start;
            while self.open.get(&key).is_some_and(behind) && !self.lifecycle.is_draining() {
                self.records(&reader.next().await?).await?;
            }
        }
        Ok(())
    }

    async fn records(&mut self, batch: &Batch) -> Result<(), StoredError> {
        let key = (batch.topic(), batch.partition());
        let deps = &self.metering.deps;
        let limit = deps.settings.batch_records.max(1);
        for record in batch.iter() {
            let Some(open) = self.open.get_mut(&key) else {
                return Ok(());
            };
            if record.offset < open.batch.to_offset {
                continue;
            }
            if key.0 == Topic::SinkCursors {
                while let Err(error) = open.cursor(&deps.codecs, &record).await {
                    let part = self.metering.part(self.counted);
                    part.wait_for_registry(self.lifecycle, error).await?;
                }
            } else {
                open.accepted(&record, &mut self.seen);
            }
            open.batch.to_offset = record.offset + 1;
            if open.records >= limit {
                self.flush(|due| due == key).await?;
            }
        }
        if let Some(open) = self.open.get_mut(&key) {
            open.batch.to_offset = open.batch.to_offset.max(batch.next_offset());
        }
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<(), StoredError> {
        self.flush(|_| true).await
    }

    /// Writes what is open of these partitions, in one transaction. While the store is away it
    /// waits: the log keeps.
    async fn flush(&mut self, of: impl Fn((Topic, u32)) -> bool) -> Result<(), StoredError> {
        let (deps, part) = (&self.metering.deps, self.metering.part(self.counted));
        let due = self.open.iter_mut();
        let due = due.filter(|(key, open)| of(**key) && open.has_come_on());
        let mut batches: Vec<&UsageBatch> = due.map(|(_, open)| open.batch()).collect();
        if batches.is_empty() {
            return Ok(());
        }
        while let Err(error) = deps.store.meter_all(&deps.authority, &mut batches).await {
            part.wait_for_store(self.lifecycle, error).await?;
        }
        part.is_well();
        let due = self.open.iter_mut();
        for (key, open) in due.filter(|(key, open)| of(**key) && open.has_come_on()) {
            let to = open.batch.to_offset;
            self.told.next(key.0, key.1, to);
            *open = Open::at(GENERATION, key.0, key.1, to, to);
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), StoredError> {
        Ok(self.told.commit(&*self.committer, self.epoch).await?)
    }

    /// Warns the tenants whose lane for what is about them as a whole is this member's.
    async fn warn(&mut self) -> Result<(), StoredError> {
        let open = &self.open;
        let owned = |lane| open.contains_key(&(Topic::LocationUpdates, lane));
        let deps = &self.metering.deps;
        self.warner
            .look(deps, owned, &*self.committer, self.epoch)
            .await
    }
}
