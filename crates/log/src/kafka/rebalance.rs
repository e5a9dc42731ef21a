//! What happens to a member when its group rebalances.
//!
//! Runs inside the polls of the consumer's own thread. The group waits for it, and the old
//! owner keeps its partitions until it returns.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::epochs::Epochs;
use super::errors;
use super::health::{Health, log_line};
use super::query::offset_for;
use super::queue::Queue;
use super::records::end_of_partition;
use super::topics::Names;
use crate::{GroupSpec, GroupStart, LogError, MemberEvent, Result, RevokeDone, Topic};

/// How often a wait for the application looks whether there is still one.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(10);

/// What the threads and the handle of one member share.
pub(super) struct Membership {
    pub(super) spec: GroupSpec,
    pub(super) names: Names,
    pub(super) health: Arc<Health>,
    pub(super) queue: Queue<Result<MemberEvent>>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) session_timeout: Duration,
    /// Changes with every assignment and revocation: what was polled under another is dropped.
    pub(super) version: AtomicU64,
    /// Partitions that the application was told of.
    held: Mutex<Vec<u32>>,
    /// Of the end of partition that is being reported, plus one.
    end: AtomicU64,
}

impl Membership {
    pub(super) fn new(
        spec: GroupSpec,
        names: &Names,
        health: &Arc<Health>,
        epochs: &Arc<Epochs>,
        stopping: &Arc<AtomicBool>,
        session_timeout: Duration,
    ) -> Self {
        Membership {
            spec,
            names: names.clone(),
            health: health.clone(),
            queue: Queue::new(super::records::QUEUED_BYTES),
            epochs: epochs.clone(),
            stopping: stopping.clone(),
            session_timeout,
            version: AtomicU64::new(0),
            held: Mutex::default(),
            end: AtomicU64::new(0),
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The application is gone, or shall not go on.
    pub(super) fn stop(&self, error: LogError) {
        self.stopping.store(true, Ordering::Relaxed);
        self.queue.end(error);
    }

    /// The offset of the end of partition that was polled last.
    pub(super) fn take_end(&self) -> Option<u64> {
        self.end.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assigned(
        &self,
        consumer: &BaseConsumer<MemberContext>,
        list: &mut TopicPartitionList,
    ) -> Result<()> {
        let partitions = co_partitioned(list, &self.names, &self.spec.topics)?;
        let metadata = consumer.group_metadata();
        if self.spec.start == GroupStart::Latest {
            start_at_end(consumer, list)?;
        }
        consumer
            .assign(list)
            .map_err(|error| failed("taking an assignment over", &error))?;
        // Lost before it was taken over: the metadata may be of no generation at all.
        if let Some(metadata) = metadata
            && !consumer.assignment_lost()
        {
            let epoch = self.epochs.open(metadata);
            self.held().clone_from(&partitions);
            self.queue
                .push(Ok(MemberEvent::Assigned { partitions, epoch }), 0);
        }
        Ok(())
    }

    fn revoked(&self, consumer: &BaseConsumer<MemberContext>) -> Result<()> {
        let partitions = std::mem::take(&mut *self.held());
        // They are not committed: the next owner reads them.
        self.queue
            .retain(|event| !matches!(event, Ok(MemberEvent::Records(_))), || ());
        if consumer.assignment_lost() {
            self.epochs.close(Duration::ZERO);
            if !partitions.is_empty() {
                self.queue.push(Ok(MemberEvent::Lost { partitions }), 0);
            }
        } else {
            if !partitions.is_empty() {
                let (done, flushed) = oneshot::channel();
                self.queue.push(
                    Ok(MemberEvent::Revoked {
                        partitions,
                        done: RevokeDone(Some(done)),
                    }),
                    0,
                );
                self.wait(flushed);
            }
            // A unit that is on its way is finished before the partitions are given up.
            self.epochs.close(self.session_timeout);
        }
        // A pause would outlast the assignment, and hold the partition back when it returns.
        consumer
            .assignment()
            .and_then(|all| consumer.resume(&all))
            .and_then(|()| consumer.unassign())
            .map_err(|error| failed("giving an assignment up", &error))
    }

    /// Until the application has flushed what it holds of revoked partitions, within the session
    /// timeout: the rest of the group waits too.
    fn wait(&self, flushed: oneshot::Receiver<()>) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut flushed = pin!(flushed);
        let deadline = Instant::now() + self.session_timeout;
        while flushed.as_mut().poll(&mut cx) == Poll::Pending {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(
                    group = self.spec.group,
                    "revoked partitions were not flushed within the session timeout"
                );
                return;
            }
            if self.queue.ended() {
                return;
            }
            std::thread::park_timeout(left.min(LOOK_EVERY));
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The partitions of an assignment, where each comes with every topic.
fn co_partitioned(list: &TopicPartitionList, names: &Names, topics: &[Topic]) -> Result<Vec<u32>> {
    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for element in list.elements() {
        if let Some((topic, lane)) = names.logical(element.topic(), element.partition())
            && topics.contains(&topic)
        {
            *found.entry(lane).or_default() += 1;
        }
    }
    match found.iter().find(|(_, count)| **count != topics.len()) {
        None => Ok(found.into_keys().collect()),
        Some((partition, count)) => Err(LogError::Fatal(format!(
            "the group assigned partition {partition} of {count} of its {} topics to this member; partitions of \
             all topics have to move together: stop members that use another assignor",
            topics.len()
        ))),
    }
}

/// Partitions without a committed offset start at their end. (`auto.offset.reset` would also
/// skip what is left of a partition whose committed offset retention has overtaken.)
fn start_at_end(
    consumer: &BaseConsumer<MemberContext>,
    list: &mut TopicPartitionList,
) -> Result<()> {
    let doing = "asking where a new group starts";
    let committed = consumer
        .committed_offsets(list.clone(), OFFSETS_TIMEOUT)
        .map_err(|e| failed(doing, &e))?;
    for element in committed.elements() {
        if element.offset() == Offset::Invalid {
            // The end as it is now, not as it will be when the fetching begins.
            let partition = (element.topic(), element.partition());
            offset_for(consumer, partition, Offset::End, OFFSETS_TIMEOUT)
                .and_then(|end| {
                    let end = Offset::Offset(end.cast_signed());
                    list.set_partition_offset(partition.0, partition.1, end)
                })
                .map_err(|e| failed(doing, &e))?;
        }
    }
    Ok(())
}

fn failed(doing: &'static str, error: &KafkaError) -> LogError {
    errors::unavailable(doing, error)
}

pub(super) struct MemberContext(pub(super) Arc<Membership>);

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("member", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            self.0.end.store(
                end_of_partition(reason).map_or(0, |offset| offset + 1),
                Ordering::Relaxed,
            );
        } else {
            self.0.health.client_error("member", &error, reason);
        }
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let membership = &self.0;
        membership.version.fetch_add(1, Ordering::Relaxed);
        let handled = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if membership.stopping() => {
                consumer
                    .unassign()
                    .map_err(|error| failed("refusing an assignment", &error))
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                membership.assigned(consumer, list)
            }
            _ => membership.revoked(consumer),
        };
        if let Err(error) = handled {
            // librdkafka waits for an answer; the owner of the member joins anew.
            let _ = consumer.unassign();
            membership.stop(error);
        }
    }
}
