//! A membership of the projection's group, from joining to leaving.
//!
//! A lane whose database is away waits by itself: it keeps what is to be written next and leaves
//! out what comes after, while the member goes on with the other lanes. When it has been written,
//! a reader beside the member makes up for what was left out.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::groups::PROJECTION;
use laneway_log::{Batch, Committer, Epoch, GroupSpec, LogError, MemberEvent, Reader, Topic};
use laneway_runtime::Lifecycle;
use laneway_store::StoreError;

use super::Projection;
use super::lane::{Lane, try_again, written};
use super::rows::add;
use crate::stored::{COMMIT, GENERATION, StoredError, Told, every};

struct Session<'a> {
    projection: &'a Projection,
    lifecycle: &'a Lifecycle,
    committer: Arc<dyn Committer>,
    epoch: Epoch,
    lanes: HashMap<u32, Lane>,
    /// Of the lanes that are behind.
    reader: Option<Box<dyn Reader>>,
    told: Told,
}

pub async fn run(projection: &Projection, lifecycle: &Lifecycle) -> Result<(), StoredError> {
    let linger = Duration::from_millis(projection.settings.linger_ms.max(1));
    let spec = GroupSpec {
        set: projection.set,
        fetch_wait: linger,
        ..GroupSpec::new(PROJECTION.name, PROJECTION.topics, &projection.instance)
    };
    let mut member = projection.log.join(spec).await?;
    let mut session = Session {
        projection,
        lifecycle,
        committer: member.committer(),
        epoch: Epoch(0),
        lanes: HashMap::default(),
        reader: None,
        told: Told::default(),
    };
    let (mut flush, mut commit) = (every(linger), every(COMMIT));
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => {
                session.flush(|_| true).await?;
                session.commit().await?;
                member.leave().await;
                return Ok(());
            }
            event = member.next() => session.event(event?).await?,
            batch = next(&mut session.reader) => session.make_up(&batch?).await?,
            (lane, written) = written(session.lanes.values_mut()) => {
                session.written(lane, written).await?;
            }
            _ = flush.tick() => {
                session.flush(|_| true).await?;
                try_again(projection, session.lanes.values_mut());
            }
            _ = commit.tick() => session.commit().await?,
        }
    }
}

async fn next(reader: &mut Option<Box<dyn Reader>>) -> Result<Batch, LogError> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
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
                    .committed(PROJECTION.name, Topic::TenantStreams)
                    .await?;
                for partition in partitions {
                    let committed = committed.get(partition as usize).copied().flatten();
                    self.begin(partition, committed).await?;
                }
                self.put_away();
            }
            MemberEvent::Records(batch) => self.records(&batch).await?,
            MemberEvent::Revoked { partitions, done } => {
                self.flush(|partition| partitions.contains(&partition))
                    .await?;
                self.commit().await?;
                self.give_up(&partitions)?;
                drop(done);
            }
            MemberEvent::Lost { partitions } => {
                self.told.forget(&partitions);
                self.give_up(&partitions)?;
            }
        }
        Ok(())
    }

    /// Begins where the store is. The group's offset is usually at or below it; where the store
    /// is behind (it was restored from a backup), what lies between is read first.
    async fn begin(&mut self, partition: u32, committed: Option<u64>) -> Result<(), StoredError> {
        let projection = self.projection;
        let (store, authority) = (&projection.store, &projection.authority);
        let mut stored = store.projected(authority, GENERATION, partition).await?;
        // Asked second: by then others may have gone on, in the log as in the store.
        let bounds = projection
            .log
            .bounds(Topic::TenantStreams, partition)
            .await?;
        if stored.is_beyond(bounds.end) {
            let (place, end) = ((GENERATION, partition), bounds.end);
            let again = store.project_again(authority, place, &stored, end, bounds.earliest);
            if again.await? {
                tracing::error!(
                    partition,
                    end,
                    "the store was ahead of the log: projecting what the log has"
                );
            }
            stored = store.projected(authority, GENERATION, partition).await?;
        }
        let at = stored.least().unwrap_or(bounds.earliest);
        // An earlier owner may have been killed before it told the group.
        self.told.next(Topic::TenantStreams, partition, at);
        let start = committed.unwrap_or(bounds.earliest).max(bounds.earliest);
        let mut lane = Lane::at(partition, at);
        let is_behind = at < start && at < bounds.last_stable;
        lane.behind = is_behind.then_some(start);
        self.lanes.insert(partition, lane);
        if is_behind {
            self.read_beside(partition, at.max(bounds.earliest)).await?;
        }
        Ok(())
    }

    fn give_up(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        for partition in partitions {
            self.lanes.remove(partition);
            if let Some(reader) = &mut self.reader {
                reader.unassign(*partition)?;
            }
        }
        self.put_away();
        Ok(())
    }

    /// Puts away what no lane needs any more.
    fn put_away(&mut self) {
        if !self.lanes.values().any(|lane| lane.away) {
            self.projection.part.is_well();
        }
        if !self.lanes.values().any(|lane| lane.behind.is_some()) {
            self.reader = None;
        }
    }

    async fn read_beside(&mut self, partition: u32, from: u64) -> Result<(), LogError> {
        match &mut self.reader {
            Some(reader) => reader.assign(partition, from)?,
            None => {
                let log = &self.projection.log;
                let from = vec![(partition, from)];
                self.reader = Some(log.reader(Topic::TenantStreams, from).await?);
            }
        }
        Ok(())
    }

    /// What the member has read.
    async fn records(&mut self, batch: &Batch) -> Result<(), StoredError> {
        let partition = batch.partition();
        let is_behind = |lane: &Lane| lane.behind.is_some();
        if !self.lanes.get(&partition).is_some_and(is_behind) {
            self.add(batch).await?;
        }
        if let Some(lane) = self.lanes.get_mut(&partition)
            && (lane.waits || is_behind(lane))
        {
            lane.behind = lane.behind.max(Some(batch.next_offset()));
        }
        Ok(())
    }

    /// What was read beside the member.
    async fn make_up(&mut self, batch: &Batch) -> Result<(), StoredError> {
        let partition = batch.partition();
        self.add(batch).await?;
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return Ok(());
        };
        if !lane.waits && Some(lane.open.to_offset) >= lane.behind {
            lane.behind = None;
        }
        if (lane.waits || lane.behind.is_none())
            && let Some(reader) = &mut self.reader
        {
            reader.unassign(partition)?;
        }
        self.put_away();
        Ok(())
    }

    /// Adds to what is to be written of a lane, as long as that does not wait.
    async fn add(&mut self, batch: &Batch) -> Result<(), StoredError> {
        let partition = batch.partition();
        let limit = self.projection.settings.batch_records.max(1);
        let takes = |lane: &&mut Lane| !lane.waits;
        for record in batch.iter() {
            let Some(lane) = self.lanes.get_mut(&partition).filter(takes) else {
                return Ok(());
            };
            let open = &mut lane.open;
            if record.offset < open.to_offset {
                continue;
            }
            while let Err(error) = add(&self.projection.codecs, &record, open).await {
                let part = &self.projection.part;
                part.wait_for_registry(self.lifecycle, error).await?;
            }
            open.to_offset = record.offset + 1;
            if open.positions.len() + open.sessions.len() >= limit {
                self.flush(|p| p == partition).await?;
            }
        }
        if let Some(lane) = self.lanes.get_mut(&partition).filter(takes) {
            lane.open.to_offset = lane.open.to_offset.max(batch.next_offset());
        }
        Ok(())
    }

    /// Writes what is open of these lanes, one after the other.
    async fn flush(&mut self, which: impl Fn(u32) -> bool) -> Result<(), StoredError> {
        let lanes = self.lanes.iter().filter(|(_, l)| l.is_to_be_written());
        let partitions: Vec<u32> = lanes.map(|(p, _)| *p).filter(|p| which(*p)).collect();
        for partition in partitions {
            if let Some(lane) = self.lanes.get_mut(&partition)
                && let Some(written) = lane.write(self.projection).await
            {
                self.written(partition, written).await?;
            }
        }
        Ok(())
    }

    /// The log keeps what cannot be written now. `Moved` ends the membership: another member has
    /// written, or this one has without hearing of it.
    async fn written(
        &mut self,
        partition: u32,
        written: Result<(), StoreError>,
    ) -> Result<(), StoredError> {
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return Ok(());
        };
        match written {
            Ok(()) => {
                let to = lane.open.to_offset;
                let was = lane.next();
                self.told.next(Topic::TenantStreams, partition, to);
                if was.away {
                    tracing::info!(partition, "the projection of a partition goes on");
                }
                if was.waits && was.behind.is_some() {
                    self.read_beside(partition, to).await?;
                }
                self.put_away();
            }
            Err(error) if error.is_transient() => {
                if !lane.away {
                    tracing::warn!(%error, partition, "the projection of a partition waits for the store");
                }
                lane.failed();
                self.projection.part.is_troubled_by(&error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), StoredError> {
        Ok(self.told.commit(&*self.committer, self.epoch).await?)
    }
}
