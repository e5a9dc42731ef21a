//! The group member: which lanes are this process's, and the units of work that commit them.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use futures_util::future::{join_all, try_join_all};
use laneway_directory::DirectoryChange;
use laneway_log::groups::DELIVERIES;
use laneway_log::{
    Committer, Epoch, GroupSpec, LogError, Member, MemberEvent, Records, Topic, Unit,
};
use laneway_runtime::Lifecycle;
use laneway_schemas::ControlKind;
use laneway_schemas::headers::DELIVERED;
use laneway_tenancy::DestinationId;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use super::lane::{Command, Lane, Snapshot};
use super::restore;
use super::shared::{DeliveryDeps, Shared};

/// A small part of what a request to a receiver takes.
const FETCH_WAIT: Duration = Duration::from_millis(20);
const REJOIN: Duration = Duration::from_secs(1);
/// How long what is in flight may take when a lane moves to another member …
const REVOKED: Duration = Duration::from_secs(3);
/// … and when this one stops: a little more than one attempt may.
const STOPPED: Duration = Duration::from_secs(20);

pub struct Deliveries {
    shared: Arc<Shared>,
}

struct Owned {
    commands: mpsc::Sender<Command>,
    _task: AbortOnDropHandle<()>,
    committed: Option<u64>,
}

/// A membership, from joining to leaving.
struct Session<'a> {
    shared: &'a Arc<Shared>,
    committer: Arc<dyn Committer>,
    epoch: Epoch,
    lanes: HashMap<u32, Owned>,
}

impl Deliveries {
    pub fn new(deps: DeliveryDeps) -> Self {
        Deliveries {
            shared: Arc::new(Shared::new(deps)),
        }
    }

    /// Runs until the drain: what is in flight finishes, and the cursors are committed.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let signals = Arc::clone(&self.shared.signals).run(lifecycle.clone());
        let sets = self.shared.deps.log.sets().all();
        let deliveries = try_join_all(sets.map(|set| self.deliver(set, &lifecycle)));
        tokio::try_join!(signals, deliveries)?;
        Ok(())
    }

    /// From the lanes of one topic set.
    async fn deliver(&self, set: u32, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            () = async {
                self.shared.deps.directory.caught_up().await;
                self.shared.signals.caught_up().await;
            } => {}
        }
        while !lifecycle.is_draining() {
            match self.member(set, lifecycle).await {
                Ok(()) => return Ok(()),
                Err(error @ (LogError::Fatal(_) | LogError::Config(_))) => return Err(error.into()),
                Err(LogError::Closed) if lifecycle.is_draining() => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "delivery lost its place in the group; joining anew");
                    tokio::time::sleep(REJOIN).await;
                }
            }
        }
        Ok(())
    }

    async fn member(&self, set: u32, lifecycle: &Lifecycle) -> Result<(), LogError> {
        let deps = &self.shared.deps;
        let mut changes = deps.directory.changes();
        let mut heard = self.shared.signals.heard();
        let mut member = deps
            .log
            .join(GroupSpec {
                set,
                fetch_wait: FETCH_WAIT,
                ..GroupSpec::new(DELIVERIES.name, DELIVERIES.topics, &deps.instance)
            })
            .await?;
        let mut session = Session {
            shared: &self.shared,
            committer: member.committer(),
            epoch: Epoch(0),
            lanes: HashMap::default(),
        };
        let mut commit =
            tokio::time::interval(Duration::from_millis(deps.settings.commit_ms.max(10)));
        commit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => {
                    let partitions: Vec<u32> = session.lanes.keys().copied().collect();
                    session.finish(&partitions, STOPPED).await?;
                    leave(member).await;
                    return Ok(());
                }
                event = member.next() => session.event(event?).await?,
                change = changes.recv() => session.refresh(change).await?,
                heard = heard.recv() => session.heard(heard).await?,
                _ = commit.tick() => session.commit().await?,
            }
        }
    }
}

async fn leave(member: Box<dyn Member>) {
    member.leave().await;
}

impl Session<'_> {
    async fn event(&mut self, event: MemberEvent) -> Result<(), LogError> {
        match event {
            MemberEvent::Assigned { partitions, epoch } => {
                self.epoch = epoch;
                self.assigned(partitions).await
            }
            MemberEvent::Records(batch) => match self.lanes.get(&batch.partition()) {
                Some(lane) => lane
                    .commands
                    .send(Command::Head(batch))
                    .await
                    .map_err(|_| died()),
                None => Ok(()),
            },
            MemberEvent::Revoked { partitions, done } => {
                self.finish(&partitions, REVOKED).await?;
                drop(done);
                Ok(())
            }
            MemberEvent::Lost { partitions } => {
                for partition in partitions {
                    self.lanes.remove(&partition);
                }
                Ok(())
            }
        }
    }

    async fn assigned(&mut self, partitions: Vec<u32>) -> Result<(), LogError> {
        let shared = self.shared;
        let deps = &shared.deps;
        let committed = deps
            .log
            .committed(DELIVERIES.name, Topic::TenantStreams)
            .await?;
        let opened = try_join_all(partitions.into_iter().map(|partition| {
            let committed = committed.get(partition as usize).copied().flatten();
            async move {
                let head = match committed {
                    Some(head) => head,
                    // Nobody has ever delivered from this lane: what is new reads by itself from where
                    // it begins.
                    None => {
                        deps.log
                            .bounds(Topic::TenantStreams, partition)
                            .await?
                            .last_stable
                    }
                };
                let restored = restore::restore(&*deps.log, &deps.codecs, partition).await?;
                let lane = Lane::new(Arc::clone(shared), partition, head, restored);
                Ok::<_, LogError>((partition, committed, lane))
            }
        }))
        .await?;
        for (partition, committed, lane) in opened {
            let (commands, receiver) = mpsc::channel(4);
            let task = AbortOnDropHandle::new(tokio::spawn(lane.run(receiver)));
            self.lanes.insert(
                partition,
                Owned {
                    commands,
                    _task: task,
                    committed,
                },
            );
        }
        Ok(())
    }

    async fn refresh(
        &mut self,
        change: Result<DirectoryChange, broadcast::error::RecvError>,
    ) -> Result<(), LogError> {
        let tenant = match change {
            Ok(change) if matches!(change.kind, ControlKind::Tenant | ControlKind::Destination) => {
                Some(change.tenant)
            }
            Ok(_) => return Ok(()),
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        };
        for lane in self.lanes.values() {
            let refresh = Command::Refresh(tenant);
            lane.commands.send(refresh).await.map_err(|_| died())?;
        }
        Ok(())
    }

    async fn heard(
        &mut self,
        heard: Result<DestinationId, broadcast::error::RecvError>,
    ) -> Result<(), LogError> {
        let id = match heard {
            Ok(id) => Some(id),
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        };
        for lane in self.lanes.values() {
            let heard = Command::Heard(id);
            lane.commands.send(heard).await.map_err(|_| died())?;
        }
        Ok(())
    }

    /// One unit of work for all lanes: their cursors and how far their heads are.
    async fn commit(&mut self) -> Result<(), LogError> {
        let asked = self.lanes.iter().map(|(partition, lane)| async move {
            let (reply, answer) = oneshot::channel();
            lane.commands
                .send(Command::Snapshot(reply))
                .await
                .map_err(|_| died())?;
            Ok::<_, LogError>((*partition, answer.await.map_err(|_| died())?))
        });
        let snapshots = try_join_all(asked).await?;
        self.write(snapshots).await
    }

    /// Ends lanes, and commits what they came to.
    async fn finish(&mut self, partitions: &[u32], bound: Duration) -> Result<(), LogError> {
        let until = Instant::now() + bound;
        let asked = partitions
            .iter()
            .filter_map(|p| Some((*p, self.lanes.get(p)?)))
            .map(|(partition, lane)| async move {
                let (reply, answer) = oneshot::channel();
                lane.commands
                    .send(Command::Finish(until, reply))
                    .await
                    .ok()?;
                Some((partition, answer.await.ok()?))
            });
        let snapshots = join_all(asked).await.into_iter().flatten().collect();
        let written = self.write(snapshots).await;
        for partition in partitions {
            self.lanes.remove(partition);
        }
        written
    }

    async fn write(&mut self, snapshots: Vec<(u32, Snapshot)>) -> Result<(), LogError> {
        let now_ms = self.shared.deps.clock.now_ms();
        let mut records = Records::new();
        let mut offsets = Vec::new();
        for (partition, snapshot) in snapshots {
            for (topic, key, value) in &snapshot.records {
                let partition = if topic.co_partitioned() { partition } else { 0 };
                let key = key.as_bytes();
                match value {
                    Some(value) => records.push(*topic, partition, now_ms, key, [], value),
                    None => records.push_tombstone(*topic, partition, now_ms, key),
                }
            }
            for (key, delivered) in &snapshot.farewells {
                let (key, delivered) = (key.as_bytes(), delivered.to_string());
                let said = [(DELIVERED, delivered.as_bytes())];
                records.push_tombstone_with(Topic::SinkCursors, partition, now_ms, key, said);
            }
            let Some(lane) = self.lanes.get_mut(&partition) else {
                continue;
            };
            if lane.committed != Some(snapshot.head) {
                lane.committed = Some(snapshot.head);
                offsets.push((Topic::TenantStreams, partition, snapshot.head));
            }
        }
        if records.is_empty() && offsets.is_empty() {
            return Ok(());
        }
        self.committer
            .commit(Unit {
                epoch: self.epoch,
                records,
                offsets,
            })
            .await
    }
}

fn died() -> LogError {
    LogError::Unavailable {
        doing: "delivering",
        reason: "a lane's worker has ended".to_owned(),
    }
}
