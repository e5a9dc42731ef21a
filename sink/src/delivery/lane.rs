//! The worker of one partition: takes from its head and from the readers of those behind, sends,
//! judges outcomes, and says what to commit. It never waits for a destination.

mod intake;
mod outcome;
mod redrive;
mod targets;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{Batch, Topic};
use laneway_schemas::sink::cursor_key;
use laneway_schemas::{Codecs, SinkCursor};
use laneway_tenancy::{DestinationId, TenantId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::redrive::Redriven;
use super::destination::{Attempt, Attempted, Delivery, Destination, EventBatch, OpenError};
use super::letters::Letters;
use super::reading::Read;
use super::restore::Restored;
use super::shared::Shared;
use super::target::Target;
use crate::event::TenantKey;

/// A reader is given back where its target has delivered nothing for so long.
const PATIENCE: Duration = Duration::from_secs(5);

pub enum Command {
    /// The next records of the partition.
    Head(Batch),
    /// Destinations of this tenant, or of all, may have changed.
    Refresh(Option<TenantId>),
    /// There is news of this destination, or of any, from other sinks or from the API.
    Heard(Option<DestinationId>),
    Snapshot(oneshot::Sender<Snapshot>),
    /// Sends nothing more, waits for what is in flight until then, and says what to commit.
    Finish(Instant, oneshot::Sender<Snapshot>),
}

/// What a lane has to commit.
#[derive(Default)]
pub struct Snapshot {
    /// The next offset of the head.
    pub head: u64,
    pub records: Vec<Written>,
    /// Cursors to delete, and how many events their destinations had acknowledged.
    pub farewells: Vec<(String, u64)>,
}

/// A key and its value; no value deletes. In the lane's partition of the topic.
pub type Written = (Topic, String, Option<Vec<u8>>);

/// How many outcomes are taken before their destinations are sent more.
const OUTCOMES: usize = 256;

/// What opening a destination came to.
struct Opened {
    id: DestinationId,
    /// The control version that it was opened at.
    version: i64,
    /// Where it begins, if that was asked.
    start: Option<u64>,
    destination: Result<Arc<dyn Destination>, OpenError>,
}

pub struct Lane {
    shared: Arc<Shared>,
    partition: u32,
    head: u64,
    targets: HashMap<DestinationId, Target>,
    by_tenant: HashMap<TenantKey, Vec<DestinationId>>,
    /// As the log had them, of destinations that are not there yet.
    cursors: HashMap<DestinationId, SinkCursor>,
    letters: HashMap<DestinationId, Letters>,
    /// Where the group was when the lane was assigned.
    committed: u64,
    attempts: JoinSet<()>,
    outcomes: (
        mpsc::UnboundedSender<Attempted>,
        mpsc::UnboundedReceiver<Attempted>,
    ),
    opening: JoinSet<Opened>,
    redriving: JoinSet<Redriven>,
    reads: (mpsc::Sender<Read>, mpsc::Receiver<Read>),
    wakes: BinaryHeap<Reverse<(Instant, DestinationId)>>,
    /// When destinations that are still unknown are taken for deleted.
    all_known: Option<Instant>,
    /// To be written with the next commit: dead letters, and deletions.
    unwritten: Vec<Written>,
    farewells: Vec<(String, u64)>,
    serial: u64,
    rng: StdRng,
}

impl Lane {
    /// From the head's next offset and what the log has of the destinations.
    pub fn new(shared: Arc<Shared>, partition: u32, head: u64, restored: Restored) -> Self {
        let all_known = Some(Instant::now() + shared.deps.all_known);
        let rng = StdRng::seed_from_u64(shared.deps.seed ^ u64::from(partition));
        Lane {
            shared,
            partition,
            head,
            targets: HashMap::default(),
            by_tenant: HashMap::default(),
            cursors: restored.cursors,
            letters: restored.letters,
            committed: head,
            attempts: JoinSet::new(),
            outcomes: mpsc::unbounded_channel(),
            opening: JoinSet::new(),
            redriving: JoinSet::new(),
            reads: mpsc::channel(16),
            wakes: BinaryHeap::new(),
            all_known,
            unwritten: Vec::new(),
            farewells: Vec::new(),
            serial: 0,
            rng,
        }
    }

    /// Runs until it has finished, or its owner is gone.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.refresh(None);
        loop {
            let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Head(batch)) => self.head(&batch).await,
                    Some(Command::Refresh(tenant)) => self.refresh(tenant),
                    Some(Command::Heard(id)) => self.heard(id).await,
                    Some(Command::Snapshot(reply)) => {
                        self.release_idle_readers();
                        if self.all_known.is_some_and(|at| at <= Instant::now()) {
                            self.all_known = None;
                            self.forget_orphans();
                        }
                        // An owner that is gone commits nothing.
                        let _ = reply.send(self.snapshot());
                    }
                    Some(Command::Finish(until, reply)) => {
                        let _ = reply.send(self.finish(until).await);
                        return;
                    }
                    None => return,
                },
                Some(attempted) = self.outcomes.1.recv() => self.attempted(attempted).await,
                Some(_) = self.attempts.join_next(), if !self.attempts.is_empty() => {}
                Some(redriven) = self.redriving.join_next(), if !self.redriving.is_empty() => {
                    if let Ok(redriven) = redriven {
                        self.redriven(redriven).await;
                    }
                }
                Some(opened) = self.opening.join_next(), if !self.opening.is_empty() => {
                    if let Ok(opened) = opened {
                        self.opened(opened).await;
                    }
                }
                Some(read) = self.reads.1.recv() => self.read(read).await,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.woken().await,
            }
        }
    }

    async fn finish(&mut self, until: Instant) -> Snapshot {
        for target in self.targets.values_mut() {
            target.active = false;
            target.stop_reading();
        }
        while self.targets.values().any(|t| t.queues.in_flight() > 0) {
            let Ok(Some(attempted)) = timeout_at(until, self.outcomes.1.recv()).await else {
                break;
            };
            self.judge(attempted);
        }
        self.snapshot()
    }

    /// Takes all outcomes that are known, then sends what there is room for.
    async fn attempted(&mut self, first: Attempted) {
        let mut ids = vec![first.target];
        self.judge(first);
        while ids.len() < OUTCOMES
            && let Ok(next) = self.outcomes.1.try_recv()
        {
            ids.push(next.target);
            self.judge(next);
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            self.pump(id).await;
        }
    }

    async fn heard(&mut self, id: Option<DestinationId>) {
        let ids = match id {
            Some(id) => vec![id],
            None => self.targets.keys().copied().collect(),
        };
        for id in ids {
            self.answer_redrives(id);
            self.redrive(id);
            self.pump(id).await;
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut records = std::mem::take(&mut self.unwritten);
        let codecs = &self.shared.deps.codecs;
        let targets = self.targets.values_mut();
        records.extend(targets.filter_map(|t| cursor(codecs, t, self.partition)));
        Snapshot {
            head: self.head,
            records,
            farewells: std::mem::take(&mut self.farewells),
        }
    }

    /// Sends what a target may send now, and reads on for it where it is behind.
    async fn pump(&mut self, id: DestinationId) {
        self.feed(id).await;
        let now = Instant::now();
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let Some(destination) = target.destination.clone() else {
            return;
        };
        let mut wake = None;
        let mut deliveries = Vec::new();
        while target.active
            && target.queues.in_flight() < target.concurrency
            && target.queues.has_ready(now)
        {
            if let Err(until) = target.breaker.may_begin(now) {
                wake = Some(until);
                break;
            }
            let Some(event) = target.queues.begin() else {
                target.breaker.gave_up();
                break;
            };
            let attempt = Attempt {
                target: id,
                life: target.life,
                outcomes: self.outcomes.0.clone(),
            };
            deliveries.push(Delivery::new(event, attempt));
        }
        if !deliveries.is_empty() {
            self.attempts.spawn(destination.deliver(EventBatch {
                generation: target.generation,
                lane: self.partition,
                deliveries,
            }));
        }
        if target.active {
            self.wake(id, wake);
        }
    }

    /// Comes back to the target when its next device or its breaker is due.
    fn wake(&mut self, id: DestinationId, breaker: Option<Instant>) {
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let due = breaker.or_else(|| target.queues.next_due());
        if let Some(due) = due.filter(|due| target.wake.is_none_or(|w| *due < w)) {
            target.wake = Some(due);
            self.wakes.push(Reverse((due, id)));
        }
    }

    async fn woken(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self
            .wakes
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)
        {
            self.wakes.pop();
            let Some(target) = self.targets.get_mut(&id) else {
                continue;
            };
            if target.wake == Some(at) {
                target.wake = None;
            }
            if target.destination.is_none() && target.active {
                self.open(id);
            }
            self.redrive(id);
            self.pump(id).await;
        }
    }

    fn release_idle_readers(&mut self) {
        let now = Instant::now();
        let mut behind = 0u32;
        for target in self.targets.values_mut() {
            if target.active && !target.riding {
                behind += 1;
            }
            if target.held.is_some() && now - target.last_done > PATIENCE {
                target.stop_reading();
            }
        }
        self.shared.behind(self.partition, behind);
    }
}

/// A target's cursor, where it has to be written.
fn cursor(codecs: &Codecs, target: &mut Target, lane: u32) -> Option<Written> {
    let record = target.record(lane)?;
    let (tenant, id) = (target.entry.tenant, target.entry.id);
    let mut value = Vec::new();
    match codecs.encode(&record, &mut value) {
        Ok(()) => {
            target.written = Some(record);
            Some((
                Topic::SinkCursors,
                cursor_key(tenant, id, lane),
                Some(value),
            ))
        }
        Err(error) => {
            tracing::error!(destination = %id, %error, "a cursor cannot be encoded");
            None
        }
    }
}
