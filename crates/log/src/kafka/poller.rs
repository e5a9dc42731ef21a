//! The thread that polls a member's consumer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::oneshot;

use super::errors;
use super::rebalance::{MemberContext, Membership};
use super::records::{Gatherer, POLL, POLL_AT_MOST, weight};
use crate::{Batch, BatchBuilder, LogError, MemberEvent, Result, Topic};

/// A full queue that nobody takes from for this long stops the fetching, so that rebalances
/// are answered all the same. Stopping it drops what was fetched ahead: not for short waits.
const STALLED: Duration = Duration::from_millis(500);

/// Moves the position of an assigned partition.
pub(super) struct Seek {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<()>>,
}

/// The consumer's thread.
pub(super) struct Poller {
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
    pub(super) fn new(
        consumer: BaseConsumer<MemberContext>,
        membership: Arc<Membership>,
        commands: Receiver<Seek>,
    ) -> Self {
        let gatherer = Gatherer::new(&membership.names);
        Poller {
            consumer,
            membership,
            commands,
            seeks: Vec::new(),
            gatherer,
            paused: false,
            positions: HashMap::new(),
        }
    }

    /// Until the member stops, or can commit nothing more. Dropping the consumer then leaves the
    /// group, which can take long.
    pub(super) fn run(mut self) {
        while !self.membership.stopping() {
            if let Some(over) = self.membership.epochs.over() {
                self.membership.queue.end(over);
                return;
            }
            self.seeks.extend(self.commands.try_iter());
            self.seek();
            let space = self.membership.queue.wait_for_space(if self.paused {
                Duration::ZERO
            } else {
                STALLED
            });
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
            self.positions
                .insert(batch.partition(), batch.next_offset());
        }
        let bytes = weight(&batch);
        self.membership
            .queue
            .push_if(Ok(MemberEvent::Records(batch)), bytes, current);
    }

    fn report(&mut self, error: &KafkaError, version: u64) {
        let queue = &self.membership.queue;
        match error {
            KafkaError::PartitionEOF(partition) => {
                let lanes = self.membership.names.sets().lanes(self.membership.spec.set);
                self.reached_end(lanes.start + partition.cast_unsigned(), version);
            }
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
                        reason:
                            "is missing on the brokers; create it, or set log.topics to \"create\""
                                .to_owned(),
                    }),
                    0,
                ),
                Some(Code::InvalidSessionTimeout) => {
                    self.membership.stop(LogError::Config(format!(
                        "the brokers refuse log.session_timeout_ms = {}; set it between their \
                     group.min.session.timeout.ms and group.max.session.timeout.ms",
                        self.membership.session_timeout.as_millis()
                    )))
                }
                Some(Code::InconsistentGroupProtocol) => {
                    self.membership.stop(LogError::Fatal(format!(
                        "group {} has members that use another assignor or protocol; stop them",
                        self.membership.spec.group
                    )))
                }
                Some(code) if errors::is_refusal(code) => {
                    queue.push(
                        Err(errors::unavailable(
                            "consuming a group; check the user's permissions",
                            other,
                        )),
                        0,
                    );
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
            && self
                .positions
                .get(&partition)
                .is_some_and(|position| *position < end)
        {
            self.push(BatchBuilder::new(topic, partition).build(end), version);
        }
    }

    fn pause(&mut self, pause: bool) {
        let toggled = self.consumer.assignment().and_then(|all| {
            if pause {
                self.consumer.pause(&all)
            } else {
                self.consumer.resume(&all)
            }
        });
        match toggled {
            Ok(()) => self.paused = pause,
            Err(error) => tracing::debug!(%error, pause, "pausing a member"),
        }
    }

    /// A partition that was just assigned refuses to be moved until its fetching has begun.
    fn seek(&mut self) {
        for seek in std::mem::take(&mut self.seeks) {
            let (topic, partition) = self.membership.names.physical(seek.topic, seek.partition);
            let to = Offset::Offset(seek.offset.cast_signed());
            match self
                .consumer
                .seek(topic, partition, to, Duration::from_secs(1))
            {
                Ok(()) => {
                    let moved = |batch: &Batch| {
                        batch.topic() == seek.topic && batch.partition() == seek.partition
                    };
                    self.membership.queue.retain(
                        |event| !matches!(event, Ok(MemberEvent::Records(b)) if moved(b)),
                        || (),
                    );
                    self.positions.remove(&seek.partition);
                    let _ = seek.answer.send(Ok(()));
                }
                Err(error) if Instant::now() > seek.deadline => {
                    let _ = seek.answer.send(Err(errors::unavailable(
                        "moving a member's position",
                        &error,
                    )));
                }
                Err(_) => self.seeks.push(seek),
            }
        }
    }
}
