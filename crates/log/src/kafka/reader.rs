//! Reading from positions, without a group.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::health::log_line;
use super::queue::Queue;
use super::records::{Gatherer, POLL, POLL_AT_MOST, QUEUED_BYTES, end_of_partition, weight};
use super::{Follower, Shared, errors};
use crate::{Batch, BatchBuilder, LogError, Reader, Result, Topic};

/// It has a consumer for each topic set that it reads of: the end of a partition does not say which
/// topic it is of.
pub(super) struct KafkaReader {
    following: Arc<Following>,
    moves: HashMap<u32, Sender<Move>>,
}

/// What the handle and the thread of one reader share.
struct Following {
    log: Arc<Shared>,
    topic: Topic,
    queue: Queue<Result<Batch>>,
    /// The generation of each partition that is wanted. It changes with every move, so that
    /// nothing that was read before a move is delivered after it.
    wanted: Mutex<HashMap<u32, u64>>,
    generations: AtomicU64,
}

struct Move {
    partition: u32,
    /// `None` stops reading it.
    to: Option<Position>,
}

#[derive(Clone, Copy)]
struct Position {
    generation: u64,
    offset: u64,
}

impl KafkaReader {
    pub(super) fn open(log: &Arc<Shared>, topic: Topic, from: &[(u32, u64)]) -> Result<Self> {
        let following = Arc::new(Following {
            log: log.clone(),
            topic,
            queue: Queue::new(QUEUED_BYTES),
            wanted: Mutex::default(),
            generations: AtomicU64::new(0),
        });
        let mut reader = KafkaReader {
            following: following.clone(),
            moves: HashMap::new(),
        };
        for &(partition, offset) in from {
            reader.assign(partition, offset)?;
        }
        let follower: Arc<dyn Follower> = following;
        log.follow(Arc::downgrade(&follower));
        Ok(reader)
    }

    /// The one of a set, which begins when it is wanted first.
    fn consumer(&mut self, set: u32) -> Result<&Sender<Move>> {
        let vacant = match self.moves.entry(set) {
            Entry::Occupied(moves) => return Ok(moves.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let following = &self.following;
        let context = ReaderContext {
            following: following.clone(),
            end: AtomicU64::new(0),
        };
        let consumer = following
            .log
            .settings
            .reader()
            .create_with_context(context)
            .map_err(|error| {
                LogError::Config(format!("the Kafka consumer refused its settings: {error}"))
            })?;
        let (moves, received) = channel();
        let poller = Poller {
            consumer,
            following: following.clone(),
            set,
            moves: received,
            applied: HashMap::new(),
            gatherer: Gatherer::new(&following.log.names),
        };
        std::thread::Builder::new()
            .name("log-reader".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| {
                LogError::Fatal(format!("no thread could be started to read: {error}"))
            })?;
        Ok(vacant.insert(moves))
    }

    fn change(&mut self, partition: u32, offset: Option<u64>) -> Result<()> {
        let (set, _) = self.following.log.names.sets().place(partition);
        self.consumer(set)?;
        let following = &self.following;
        let to = offset.map(|offset| Position {
            generation: following.generations.fetch_add(1, Ordering::Relaxed) + 1,
            offset,
        });
        following.queue.retain(
            |item| !matches!(item, Ok(batch) if batch.partition() == partition),
            || {
                let mut wanted = following.wanted();
                match to {
                    Some(to) => wanted.insert(partition, to.generation),
                    None => wanted.remove(&partition),
                };
            },
        );
        let moved = self.consumer(set)?.send(Move { partition, to });
        moved.map_err(|_| LogError::Closed)
    }
}

impl Reader for KafkaReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>> {
        async { self.following.queue.next().await? }.boxed()
    }

    fn assign(&mut self, partition: u32, offset: u64) -> Result<()> {
        self.following
            .log
            .partition_exists(self.following.topic, partition)?;
        self.change(partition, Some(offset))
    }

    fn unassign(&mut self, partition: u32) -> Result<()> {
        self.change(partition, None)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.following.queue.end(LogError::Closed);
    }
}

impl Following {
    fn wanted(&self) -> MutexGuard<'_, HashMap<u32, u64>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Following {
    fn log_closed(&self) {
        self.queue.end(LogError::Closed);
    }
}

struct ReaderContext {
    following: Arc<Following>,
    /// Of the end of partition that is being reported, plus one.
    end: AtomicU64,
}

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("reader", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            self.end.store(
                end_of_partition(reason).map_or(0, |offset| offset + 1),
                Ordering::Relaxed,
            );
        } else {
            let health = &self.following.log.health;
            health.client_error("reader", &error, reason);
        }
    }
}

impl ConsumerContext for ReaderContext {}

/// The consumer's thread.
struct Poller {
    consumer: BaseConsumer<ReaderContext>,
    following: Arc<Following>,
    set: u32,
    moves: Receiver<Move>,
    /// What the consumer reads, and where it goes on.
    applied: HashMap<u32, Position>,
    gatherer: Gatherer,
}

impl Poller {
    /// Until the reader is dropped. Closing the consumer happens here too: it can take long.
    fn run(mut self) {
        while !self.following.queue.ended() {
            for change in self.moves.try_iter().collect::<Vec<_>>() {
                if let Err(error) = self.apply(&change) {
                    self.following
                        .queue
                        .push(Err(errors::unavailable("moving a reader", &error)), 0);
                }
            }
            if self.following.queue.wait_for_space(POLL) {
                self.take();
            }
        }
    }

    fn list(&self, partition: u32, offset: Option<u64>) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(1);
        let names = &self.following.log.names;
        let (topic, partition) = names.physical(self.following.topic, partition);
        let at = offset.map_or(Offset::Invalid, |offset| {
            Offset::Offset(offset.cast_signed())
        });
        list.add_partition_offset(topic, partition, at)?;
        Ok(list)
    }

    fn apply(&mut self, change: &Move) -> Result<(), KafkaError> {
        self.drop_partition(change.partition)?;
        if let Some(to) = change.to {
            self.consumer
                .incremental_assign(&self.list(change.partition, Some(to.offset))?)?;
            self.applied.insert(change.partition, to);
        }
        Ok(())
    }

    fn drop_partition(&mut self, partition: u32) -> Result<(), KafkaError> {
        if self.applied.remove(&partition).is_some() {
            self.consumer
                .incremental_unassign(&self.list(partition, None)?)?;
        }
        Ok(())
    }

    /// Polls until a poll would wait.
    fn take(&mut self) {
        let mut wait = POLL;
        for _ in 0..POLL_AT_MOST {
            let finished = match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => self.gatherer.add(&message),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let lanes = self.following.log.names.sets().lanes(self.set);
                    self.reached_end(lanes.start + partition.cast_unsigned());
                    None
                }
                Some(Err(error)) => {
                    self.report(&error);
                    None
                }
            };
            if let Some(batch) = finished {
                self.push(batch);
            }
            wait = Duration::ZERO;
        }
        if let Some(batch) = self.gatherer.take() {
            self.push(batch);
        }
    }

    fn push(&mut self, batch: Batch) {
        let partition = batch.partition();
        let Some(position) = self.applied.get_mut(&partition) else {
            return;
        };
        position.offset = batch.next_offset();
        let generation = position.generation;
        let following = &self.following;
        let bytes = weight(&batch);
        following.queue.push_if(Ok(batch), bytes, || {
            following.wanted().get(&partition) == Some(&generation)
        });
    }

    /// Says that the last stable offset is reached.
    fn reached_end(&mut self, partition: u32) {
        if let Some(batch) = self.gatherer.take() {
            self.push(batch);
        }
        let Some(position) = self.applied.get(&partition) else {
            return;
        };
        let context = self.consumer.context();
        let end = context.end.swap(0, Ordering::Relaxed).checked_sub(1);
        let next = end.unwrap_or(position.offset).max(position.offset);
        self.push(BatchBuilder::new(self.following.topic, partition).build(next));
    }

    fn report(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.out_of_range(),
            Some(code) if errors::is_refusal(code) => {
                let refused = errors::unavailable("reading; check the user's permissions", error);
                self.following.queue.push(Err(refused), 0);
            }
            _ => tracing::debug!(topic = %self.following.topic, %error, "Kafka consumer"),
        }
    }

    /// Which partition it is the wrapper does not say: each that is outside of its bounds is
    /// reported and no longer read; the others begin again where they were.
    fn out_of_range(&mut self) {
        let topic = self.following.topic;
        for (partition, position) in self.applied.clone() {
            let outcome = match self.following.log.query.bounds_blocking(topic, partition) {
                Ok(bounds) if (bounds.earliest..=bounds.end).contains(&position.offset) => {
                    let again = Move {
                        partition,
                        to: Some(position),
                    };
                    self.apply(&again)
                        .map_err(|error| errors::unavailable("moving a reader", &error))
                }
                Ok(bounds) => {
                    let _ = self.drop_partition(partition);
                    Err(LogError::OutOfRange {
                        topic,
                        partition,
                        offset: position.offset,
                        earliest: bounds.earliest,
                        end: bounds.end,
                    })
                }
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let wanted = &self.following.wanted;
                let current = || {
                    wanted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get(&partition)
                        == Some(&position.generation)
                };
                self.following.queue.push_if(Err(error), 0, current);
            }
        }
    }
}
