//! A member of a group: the handle, and the thread that polls its consumer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::oneshot;

use super::committer::KafkaCommitter;
use super::epochs::Epochs;
use super::rebalance::{MemberContext, Membership};
use super::records::{Gatherer, POLL, POLL_AT_MOST, weight};
use super::unit::UnitWorker;
use super::{Follower, Shared, errors};
use crate::{Batch, BatchBuilder, Committer, GroupSpec, LogError, Member, MemberEvent, Result, Topic};

/// A full queue that nobody takes from for this long stops the fetching, so that rebalances
/// are answered all the same. Stopping it drops what was fetched ahead: not for short waits.
const STALLED: Duration = Duration::from_millis(500);
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct KafkaMember {
    membership: Arc<Membership>,
    commands: Sender<Seek>,
    committer: Arc<KafkaCommitter>,
    left: Option<oneshot::Receiver<()>>,
}

struct Seek {
    topic: Topic,
    partition: u32,
    offset: u64,
    deadline: Instant,
    answer: oneshot::Sender<Result<()>>,
}

impl KafkaMember {
    pub(super) async fn join(log: &Arc<Shared>, spec: GroupSpec) -> Result<Self> {
        if spec.topics.is_empty() || spec.topics.iter().any(|topic| !topic.co_partitioned()) {
            return Err(LogError::Config(format!(
                "group {} joins {:?}; a group needs topics that share their partitions",
                spec.group, spec.topics
            )));
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let epochs = Arc::new(Epochs::default());
        // First, so that a predecessor's open transaction no longer hides its offsets.
        let worker = UnitWorker::new(log, &spec, &epochs, &stopping)?;
        let committer = KafkaCommitter::start(worker, &stopping).await?;
        let membership = Arc::new(Membership::new(
            spec,
            &log.names,
            &log.health,
            &epochs,
            &stopping,
            log.settings.session_timeout(),
        ));
        let consumer: BaseConsumer<MemberContext> = log
            .settings
            .member(&membership.spec)
            .create_with_context(MemberContext(membership.clone()))
            .map_err(|error| LogError::Config(format!("the Kafka consumer refused its settings: {error}")))?;
        let topics: Vec<&str> = membership.spec.topics.iter().map(|t| log.names.physical(*t)).collect();
        consumer.subscribe(&topics).map_err(|error| errors::unavailable("joining a group", &error))?;
        let (commands, received) = channel();
        let (closed, left) = oneshot::channel();
        let polled = membership.clone();
        std::thread::Builder::new()
            .name("log-member".to_owned())
            .spawn(move || {
                Poller::new(consumer, polled, received).run();
                let _ = closed.send(());
            })
            .map_err(|error| LogError::Fatal(format!("no thread could be started for a group member: {error}")))?;
        let follower: Arc<dyn Follower> = membership.clone();
        log.follow(Arc::downgrade(&follower));
        Ok(KafkaMember { membership, commands, committer, left: Some(left) })
    }
}

impl Follower for Membership {
    fn log_closed(&self) {
        self.stop(LogError::Closed);
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.membership.stop(LogError::Closed);
    }
}

impl Member for KafkaMember {
    fn next(&mut self) -> BoxFuture<'_, Result<MemberEvent>> {
        async { self.membership.queue.next().await? }.boxed()
    }

    fn committer(&self) -> Arc<dyn Committer> {
        self.committer.clone()
    }

    fn seek(&mut self, topic: Topic, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            let (answer, answered) = oneshot::channel();
            let seek = Seek { topic, partition, offset, deadline: Instant::now() + SEEK_PATIENCE, answer };
            self.commands.send(seek).map_err(|_| LogError::Closed)?;
            answered.await.unwrap_or(Err(LogError::Closed))
        }
        .boxed()
    }

    fn leave(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        let left = self.left.take();
        drop(self);
        async move {
            if let Some(left) = left
                && tokio::time::timeout(LEAVE_PATIENCE, left).await.is_err()
            {
                tracing::warn!("a group member is still leaving; its session will time out");
            }
        }
        .boxed()
    }
}

/// The consumer's thread.
struct Poller {
    consumer: BaseConsumer<MemberContext>,
    membership: Arc<Membership>,
    commands: Receiver<Seek>,
    seeks: Vec<Seek>,
    gatherer: Gatherer,
    paused: bool,
    /// Where reading goes on, of partitions that records were read of.
    positions: HashMap<u32, u64>,
}

impl Poller {
    fn new(consumer: BaseConsumer<MemberContext>, membership: Arc<Membership>, commands: Receiver<Seek>) -> Self {
        let gatherer = Gatherer::new(&membership.names);
        Poller { consumer, membership, commands, seeks: Vec::new(), gatherer, paused: false, positions: HashMap::new() }
    }

    /// Until the member stops. Dropping the consumer then leaves the group, which can take long.
    fn run(mut self) {
        while !self.membership.stopping() {
            self.seeks.extend(self.commands.try_iter());
            self.seek();
            let space = self.membership.queue.wait_for_space(if self.paused { Duration::ZERO } else { STALLED });
            if space == self.paused {
                self.pause(!space);
            }
            self.take();
        }
    }

    /// Polls until a poll would wait.
    fn take(&mut self) {
        let version = self.membership.version.load(Ordering::Relaxed);
        let mut wait = POLL;
        for _ in 0..POLL_AT_MOST {
            let finished = match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => self.gatherer.add(&message),
                Some(Err(error)) => {
                    self.report(&error, version);
                    None
                }
            };
            if let Some(batch) = finished {
                self.push(batch, version);
            }
            wait = Duration::ZERO;
        }
        if let Some(batch) = self.gatherer.take() {
            self.push(batch, version);
        }
        if self.membership.version.load(Ordering::Relaxed) != version {
            self.positions.clear();
            self.paused = false;
        }
    }

    /// Hands a batch on, unless it was polled under an assignment that is over.
    fn push(&mut self, batch: Batch, version: u64) {
        let current = || self.membership.version.load(Ordering::Relaxed) == version;
        if current() {
            self.positions.insert(batch.partition(), batch.next_offset());
        }
        let bytes = weight(&batch);
        self.membership.queue.push_if(Ok(MemberEvent::Records(batch)), bytes, current);
    }

    fn report(&mut self, error: &KafkaError, version: u64) {
        let queue = &self.membership.queue;
        match error {
            KafkaError::PartitionEOF(partition) => self.reached_end(partition.cast_unsigned(), version),
            KafkaError::MessageConsumptionFatal(_) => {
                self.membership.stop(LogError::Fatal(format!(
                    "group {} cannot be consumed ({}); join it anew",
                    self.membership.spec.group,
                    errors::reason(error)
                )));
            }
            other => match other.rdkafka_error_code() {
                Some(Code::UnknownTopicOrPartition) => queue.push(
                    Err(LogError::Topic {
                        topic: format!("{:?}", self.membership.spec.topics),
                        reason: "is missing on the brokers; create it, or set log.topics to \"create\"".to_owned(),
                    }),
                    0,
                ),
                Some(Code::InvalidSessionTimeout) => self.membership.stop(LogError::Config(format!(
                    "the brokers refuse log.session_timeout_ms = {}; set it between their \
                     group.min.session.timeout.ms and group.max.session.timeout.ms",
                    self.membership.session_timeout.as_millis()
                ))),
                Some(Code::InconsistentGroupProtocol) => self.membership.stop(LogError::Fatal(format!(
                    "group {} has members that use another assignor or protocol; stop them",
                    self.membership.spec.group
                ))),
                Some(code) if errors::is_refusal(code) => {
                    queue.push(Err(errors::unavailable("consuming a group; check the user's permissions", other)), 0);
                }
                _ => tracing::debug!(group = self.membership.spec.group, %error, "Kafka consumer"),
            },
        }
    }

    /// Transaction markers behind the last record are passed, so that an idle group's committed
    /// offset can reach the last stable one.
    fn reached_end(&mut self, partition: u32, version: u64) {
        let end = self.membership.take_end();
        if let Some(batch) = self.gatherer.take() {
            self.push(batch, version);
        }
        if let [topic] = self.membership.spec.topics[..]
            && let Some(end) = end
            && self.positions.get(&partition).is_some_and(|position| *position < end)
        {
            self.push(BatchBuilder::new(topic, partition).build(end), version);
        }
    }

    fn pause(&mut self, pause: bool) {
        let toggled = self.consumer.assignment().and_then(|all| {
            if pause { self.consumer.pause(&all) } else { self.consumer.resume(&all) }
        });
        match toggled {
            Ok(()) => self.paused = pause,
            Err(error) => tracing::debug!(%error, pause, "pausing a member"),
        }
    }

    /// A partition that was just assigned refuses to be moved until its fetching has begun.
    fn seek(&mut self) {
        for seek in std::mem::take(&mut self.seeks) {
            let physical = self.membership.names.physical(seek.topic);
            let to = Offset::Offset(seek.offset.cast_signed());
            match self.consumer.seek(physical, seek.partition.cast_signed(), to, Duration::from_secs(1)) {
                Ok(()) => {
                    let moved = |batch: &Batch| batch.topic() == seek.topic && batch.partition() == seek.partition;
                    self.membership
                        .queue
                        .retain(|event| !matches!(event, Ok(MemberEvent::Records(b)) if moved(b)), || ());
                    self.positions.remove(&seek.partition);
                    let _ = seek.answer.send(Ok(()));
                }
                Err(error) if Instant::now() > seek.deadline => {
                    let _ = seek.answer.send(Err(errors::unavailable("moving a member's position", &error)));
                }
                Err(_) => self.seeks.push(seek),
            }
        }
    }
}
