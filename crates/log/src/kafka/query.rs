//! Questions about topics and offsets, asked on blocking threads through cached clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::errors;
use super::health::{Health, log_line};
use super::retry::{TIMEOUT, left, retrying};
use super::settings::{Isolation, Settings};
use super::topics::Names;
use crate::{Bounds, LogError, Result, Topic};

const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// A transaction that was committed is written out to all partitions within milliseconds.
const SETTLING: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Groups whose committed offsets are asked for: the roles' own, and a console's, of some sets.
const CACHED_GROUPS: usize = 64;

pub(super) struct Observer {
    health: Arc<Health>,
}

impl ClientContext for Observer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("query", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.client_error("query", &error, reason);
    }
}

impl ConsumerContext for Observer {}

type Client = BaseConsumer<Observer>;

/// A topic as the cluster has it.
pub(super) struct TopicShape {
    pub(super) name: String,
    pub(super) partitions: u32,
    /// Every partition has a leader.
    pub(super) led: bool,
}

#[derive(Clone)]
pub(super) struct Query(Arc<Clients>);

struct Clients {
    settings: Settings,
    names: Names,
    health: Arc<Health>,
    /// Its list-offsets requests end at the last stable offset.
    stable: Client,
    /// Its list-offsets requests end at the high watermark.
    all: Client,
    groups: Mutex<HashMap<String, Arc<Client>>>,
}

impl Query {
    pub(super) fn open(settings: &Settings, names: &Names, health: &Arc<Health>) -> Result<Self> {
        let clients = Arc::new(Clients {
            settings: settings.clone(),
            names: names.clone(),
            health: health.clone(),
            stable: client(settings, Isolation::Committed, None, health)?,
            all: client(settings, Isolation::Uncommitted, None, health)?,
            groups: Mutex::default(),
        });
        let weak = Arc::downgrade(&clients);
        std::thread::Builder::new()
            .name("log-watch".to_owned())
            .spawn(move || watch(&weak))
            .map_err(|error| {
                LogError::Fatal(format!(
                    "no thread could be started to watch the brokers: {error}"
                ))
            })?;
        Ok(Query(clients))
    }

    /// Why the brokers refuse whoever asks, if they do.
    pub(super) fn refused(&self) -> Option<String> {
        self.0.health.refused()
    }

    /// All topics of the cluster.
    pub(super) async fn topics(&self) -> Result<Vec<TopicShape>> {
        self.ask("asking for the topics", |clients| {
            let metadata = clients.all.fetch_metadata(None, METADATA_TIMEOUT)?;
            let shape = |topic: &rdkafka::metadata::MetadataTopic| TopicShape {
                name: topic.name().to_owned(),
                partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
                led: topic.partitions().iter().all(|p| p.leader() >= 0),
            };
            Ok(metadata.topics().iter().map(shape).collect())
        })
        .await
    }

    pub(super) async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds> {
        self.ask("asking for a partition's bounds", move |clients| {
            clients.bounds(topic, partition)
        })
        .await
    }

    /// For threads of their own.
    pub(super) fn bounds_blocking(&self, topic: Topic, partition: u32) -> Result<Bounds> {
        self.0
            .bounds(topic, partition)
            .map_err(|error| errors::unavailable("asking for a partition's bounds", &error))
    }

    pub(super) async fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
    ) -> Result<u64> {
        self.ask("looking up an offset by time", move |clients| {
            let at = Offset::Offset(timestamp_ms.max(0));
            let place = clients.names.physical(topic, partition);
            // Before looking: what is appended meanwhile may be of that time.
            let last_stable = clients.bounds(topic, partition)?.last_stable;
            let found = asking(&clients.stable, place.0, |client, timeout| {
                found_for(client, place, at, timeout)
            })?;
            Ok(found.unwrap_or(last_stable))
        })
        .await
    }

    /// Over all sets.
    pub(super) async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<u64>>> {
        let group = group.to_owned();
        self.ask("asking for committed offsets", move |clients| {
            let mut offsets = Vec::new();
            for set in clients.names.sets().all() {
                let group = clients.names.group(&group, set);
                offsets.extend(clients.committed(&group, (topic, set))?);
            }
            Ok(offsets)
        })
        .await
    }

    /// The committed offsets of one set, once no open transaction could still move them. For
    /// threads of their own.
    pub(super) fn settled_offsets(
        &self,
        group: &str,
        topic: (Topic, u32),
    ) -> Result<Vec<Option<u64>>> {
        self.0
            .settled_offsets(group, topic, TIMEOUT)
            .map_err(|error| errors::unavailable("asking for committed offsets", &error))
    }

    async fn ask<T: Send + 'static>(
        &self,
        doing: &'static str,
        question: impl FnOnce(&Clients) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T> {
        let clients = self.0.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = question(&clients);
            if answer.is_ok() {
                clients.health.brokers_answered();
            }
            answer.map_err(|error| {
                let reason = clients
                    .health
                    .unreachable()
                    .unwrap_or_else(|| errors::reason(&error));
                LogError::Unavailable { doing, reason }
            })
        });
        answer.await.unwrap_or_else(|error| {
            Err(LogError::Unavailable {
                doing,
                reason: error.to_string(),
            })
        })
    }
}

impl Clients {
    fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, KafkaError> {
        let (name, partition) = self.names.physical(topic, partition);
        let edge = |of, client| {
            asking(client, name, |client, timeout| {
                offset_for(client, (name, partition), of, timeout)
            })
        };
        let earliest = edge(Offset::Beginning, &self.stable)?;
        let last_stable = edge(Offset::End, &self.stable)?;
        // Asked last, so that it is never below the last stable offset.
        let end = edge(Offset::End, &self.all)?;
        Ok(Bounds {
            earliest,
            last_stable,
            end,
        })
    }

    /// Of a group as the brokers know it.
    fn committed(&self, group: &str, topic: (Topic, u32)) -> Result<Vec<Option<u64>>, KafkaError> {
        // What was committed a moment ago counts, though it is not written out everywhere yet.
        match self.settled_offsets(group, topic, SETTLING) {
            Err(error) if error.rdkafka_error_code() == Some(Code::OperationTimedOut) => {}
            answer => return answer,
        }
        // A transaction that a dead member has left open is no reason to say nothing.
        let config = self.settings.query(Isolation::Uncommitted, Some(group));
        let client: Client = config.create_with_context(Observer {
            health: self.health.clone(),
        })?;
        committed(&client, self.of_set(topic), TIMEOUT)
    }

    fn settled_offsets(
        &self,
        group: &str,
        topic: (Topic, u32),
        patience: Duration,
    ) -> Result<Vec<Option<u64>>, KafkaError> {
        let client = self.group(group)?;
        let answer = committed(&client, self.of_set(topic), patience);
        drain(&client);
        answer
    }

    /// A set's topic, and how many partitions it has.
    fn of_set(&self, (topic, set): (Topic, u32)) -> (&str, u32) {
        let count = self.names.sets().in_each(topic);
        (self.names.of_set(topic, set), count)
    }

    fn group(&self, group: &str) -> Result<Arc<Client>, KafkaError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(client.clone());
        }
        if groups.len() >= CACHED_GROUPS {
            discard(groups.drain().map(|(_, client)| client).collect());
        }
        // The broker has it wait for transactions that are open or just being finished.
        let config = self.settings.query(Isolation::Committed, Some(group));
        let client: Client = config.create_with_context(Observer {
            health: self.health.clone(),
        })?;
        let client = Arc::new(client);
        groups.insert(group.to_owned(), client.clone());
        Ok(client)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let groups = std::mem::take(
            self.groups
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        discard(groups.into_values().collect());
    }
}

/// Asks the leaders of a topic. What a client has cached of leaders that were moving just then it
/// would believe for minutes, so it is fetched anew before asking again.
fn asking<T>(
    client: &Client,
    topic: &str,
    question: impl Fn(&Client, Duration) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    retrying(TIMEOUT, |deadline| {
        question(client, left(deadline)).inspect_err(|_| {
            // Whether it helped shows in the next answer.
            let _ = client.fetch_metadata(Some(topic), left(deadline).min(METADATA_TIMEOUT));
        })
    })
}

/// Where a partition begins or ends, for the isolation of the client. librdkafka's query for
/// watermarks would not do: it asks for both at once, forgets that one of them failed where the
/// other succeeds after it, and then has a partition end where it begins.
pub(super) fn offset_for<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
    edge: Offset,
    timeout: Duration,
) -> Result<u64, KafkaError> {
    let found = found_for(client, (topic, partition), edge, timeout)?;
    found.ok_or(KafkaError::NoMessageReceived)
}

/// The offset of an edge, or of the first record of a time (in milliseconds, as an offset) or
/// later; none where there is no such record.
fn found_for<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
    what: Offset,
    timeout: Duration,
) -> Result<Option<u64>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition, what)?;
    let found = client.offsets_for_times(list, timeout)?;
    let element = found.elements_for_topic(topic);
    let element = element.first().ok_or(KafkaError::NoMessageReceived)?;
    element.error()?;
    Ok(match element.offset() {
        Offset::Offset(offset) => Some(offset.unsigned_abs()),
        _ => None,
    })
}

fn committed(
    client: &Client,
    (topic, partitions): (&str, u32),
    patience: Duration,
) -> Result<Vec<Option<u64>>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions as usize);
    for partition in 0..partitions {
        list.add_partition(topic, partition.cast_signed());
    }
    let answer = retrying(patience, |deadline| {
        client.committed_offsets(list.clone(), left(deadline))
    })?;
    let mut offsets = vec![None; partitions as usize];
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset()
            && let Some(slot) = usize::try_from(element.partition())
                .ok()
                .and_then(|p| offsets.get_mut(p))
        {
            *slot = Some(offset.unsigned_abs());
        }
    }
    Ok(offsets)
}

/// Closing a consumer can take long: it never happens on a caller's thread.
fn discard(clients: Vec<Arc<Client>>) {
    if !clients.is_empty() {
        let spawned = std::thread::Builder::new()
            .name("log-close".to_owned())
            .spawn(move || drop(clients));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread could be started to close query clients");
        }
    }
}

fn client(
    settings: &Settings,
    isolation: Isolation,
    group: Option<&str>,
    health: &Arc<Health>,
) -> Result<Client> {
    settings
        .query(isolation, group)
        .create_with_context(Observer {
            health: health.clone(),
        })
        .map_err(|error| {
            LogError::Config(format!("the Kafka client refused its settings: {error}"))
        })
}

/// Serves the query clients' events, and while the brokers are out of reach asks for them, so
/// that health recovers without any traffic.
fn watch(clients: &Weak<Clients>) {
    while let Some(clients) = clients.upgrade() {
        let _ = clients.all.poll(WATCH_EVERY);
        drain(&clients.stable);
        if clients.health.doubtful() {
            let asked = Some(clients.names.of_set(Topic::TenantEvents, 0));
            match clients.all.fetch_metadata(asked, PROBE_TIMEOUT) {
                Ok(_) => clients.health.brokers_answered(),
                Err(error) => clients.health.brokers_silent(&error),
            }
        }
    }
}

fn drain(client: &Client) {
    while client.poll(Duration::ZERO).is_some() {}
}
