//! Physical topics: their names, their creation and the check of their shape.

use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::errors;
use super::query::{Query, TopicShape};
use super::settings::{Settings, max_batch_bytes};
use crate::{LogConfig, LogError, Result, Topic, TopicSets, TopicSetup};

/// A broker that is starting, or electing leaders for topics that were just created.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// A broker that is starting may not know its users yet.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);
/// Kafka's own default.
const MOST_SEGMENT_BYTES: u64 = 1 << 30;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Only closed segments are compacted, so state topics close them early: what a restore has to
/// read stays near the number of live keys.
const COMPACTED: [(&str, &str); 4] = [
    ("segment.bytes", "33554432"),
    ("segment.ms", "3600000"),
    ("min.cleanable.dirty.ratio", "0.2"),
    ("delete.retention.ms", "86400000"),
];

/// Physical names by logical topic and lane, and back.
#[derive(Clone)]
pub(super) struct Names {
    sets: TopicSets,
    prefix: String,
    /// The topics of each set, in the order of `Topic::ALL`.
    names: Vec<String>,
}

impl Names {
    pub(super) fn new(config: &LogConfig) -> Self {
        let sets = TopicSets::of(config);
        let prefix = config.topic_prefix.clone();
        let all = sets.all().flat_map(|set| Topic::ALL.map(|t| (set, t)));
        let names = all.map(|(set, topic)| format!("{prefix}{}", sets.within(set, topic.name())));
        Names {
            names: names.collect(),
            sets,
            prefix,
        }
    }

    pub(super) fn sets(&self) -> &TopicSets {
        &self.sets
    }

    pub(super) fn of_set(&self, topic: Topic, set: u32) -> &str {
        // The discriminants are in the order of `Topic::ALL`.
        &self.names[set as usize * Topic::ALL.len() + topic as usize]
    }

    /// The topic that a lane is of, and its partition there.
    pub(super) fn physical(&self, topic: Topic, lane: u32) -> (&str, i32) {
        let (set, partition) = self.sets.place(lane);
        (self.of_set(topic, set), partition.cast_signed())
    }

    /// The lane of a physical partition.
    pub(super) fn logical(&self, physical: &str, partition: i32) -> Option<(Topic, u32)> {
        let index = self.names.iter().position(|name| name == physical)?;
        let (set, topic) = (index / Topic::ALL.len(), index % Topic::ALL.len());
        let first = self.sets.lanes(set as u32).start;
        Some((Topic::ALL[topic], first + partition.cast_unsigned()))
    }

    /// A set's topics: those that are in no set but the shared one are there alone.
    fn all(&self) -> impl Iterator<Item = (Topic, &str)> {
        let each = |set| Topic::ALL.map(|topic| (set, topic));
        let there = |(set, topic): &(u32, Topic)| *set == 0 || topic.co_partitioned();
        let all = self.sets.all().flat_map(each).filter(there);
        all.map(|(set, topic)| (topic, self.of_set(topic, set)))
    }

    /// Groups belong to the topics that they read: those of other prefixes and sets have others
    /// of the same name.
    pub(super) fn group(&self, name: &str, set: u32) -> String {
        format!("{}{}", self.prefix, self.sets.within(set, name))
    }
}

/// Creates what is missing where the configuration says so, and verifies every topic.
pub(super) async fn prepare(
    config: &LogConfig,
    settings: &Settings,
    names: &Names,
    query: &Query,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let shapes = admitted(query, deadline).await?;
    let missing: Vec<(Topic, &str)> = names
        .all()
        .filter(|(_, name)| !shapes.iter().any(|s| s.name == *name))
        .collect();
    if !missing.is_empty() && config.topics == TopicSetup::Verify {
        let all: Vec<&str> = missing.iter().map(|(_, name)| *name).collect();
        return Err(LogError::Topic {
            topic: all.join(", "),
            reason: "is missing; create it, or set log.topics to \"create\"".to_owned(),
        });
    }
    let admin: AdminClient<DefaultClientContext> = settings.admin().create().map_err(|error| {
        LogError::Config(format!(
            "the Kafka admin client refused its settings: {error}"
        ))
    })?;
    if !missing.is_empty() {
        create(config, names.sets(), &admin, &missing).await?;
    }
    let shapes = settled(query, names, deadline).await?;
    for (topic, name) in names.all() {
        let found = shapes
            .iter()
            .find(|s| s.name == name)
            .map_or(0, |s| s.partitions);
        let wanted = names.sets().in_each(topic);
        if found != wanted {
            return Err(LogError::Topic {
                topic: name.to_owned(),
                reason: format!(
                    "has {found} partitions where the configuration says {wanted}; set log.partitions to \
                     what the topics have, or use another log.topic_prefix"
                ),
            });
        }
    }
    verify_configs(config, names, &admin).await
}

/// The topics of the cluster, or that it refuses whoever asks for them.
async fn admitted(query: &Query, deadline: Instant) -> Result<Vec<TopicShape>> {
    let early = (Instant::now() + REFUSAL_PATIENCE).min(deadline);
    let asked = reach(query, early).await;
    match query.refused().filter(|_| asked.is_err()) {
        Some(reason) => Err(LogError::Config(format!(
            "the Kafka brokers refuse the login ({reason}); check log.kafka.sasl.mechanism, username and password"
        ))),
        None if asked.is_err() => reach(query, deadline).await,
        None => asked,
    }
}

/// The topics of the cluster, waiting for one that is starting.
async fn reach(query: &Query, deadline: Instant) -> Result<Vec<TopicShape>> {
    loop {
        match query.topics().await {
            Ok(shapes) => return Ok(shapes),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(error) => tracing::debug!(%error, "waiting for the Kafka brokers"),
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

/// The topics once each has a leader for every partition.
async fn settled(query: &Query, names: &Names, deadline: Instant) -> Result<Vec<TopicShape>> {
    loop {
        let shapes = reach(query, deadline).await?;
        let waiting = names
            .all()
            .find(|(_, name)| !shapes.iter().any(|s| s.name == *name && s.led));
        let Some((_, name)) = waiting else {
            return Ok(shapes);
        };
        if Instant::now() > deadline {
            return Err(LogError::Topic {
                topic: name.to_owned(),
                reason: "has partitions without a leader; see to the brokers that hold them"
                    .to_owned(),
            });
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

async fn create(
    config: &LogConfig,
    sets: &TopicSets,
    admin: &AdminClient<DefaultClientContext>,
    missing: &[(Topic, &str)],
) -> Result<()> {
    let min_insync = config.kafka.min_insync_replicas.to_string();
    let max_message = max_batch_bytes(config.max_record_bytes).to_string();
    let retention_ms = config
        .retention_seconds
        .saturating_mul(1000)
        .min(i64::MAX as u64)
        .to_string();
    let retention_bytes = match config.retention_bytes {
        0 => "-1".to_owned(),
        bytes => bytes.to_string(),
    };
    let segment_bytes = segment_bytes(config).to_string();
    let segment_ms = segment_ms(config).to_string();
    let wanted: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|&(topic, name)| {
            let count = i32::try_from(sets.in_each(topic)).unwrap_or(i32::MAX);
            let new = NewTopic::new(
                name,
                count,
                TopicReplication::Fixed(config.kafka.replication_factor),
            )
            .set("min.insync.replicas", &min_insync)
            .set("max.message.bytes", &max_message);
            if topic.compacted() {
                COMPACTED
                    .iter()
                    .fold(new.set("cleanup.policy", "compact"), |new, (key, value)| {
                        new.set(key, value)
                    })
            } else {
                new.set("cleanup.policy", "delete")
                    .set("retention.ms", &retention_ms)
                    .set("retention.bytes", &retention_bytes)
                    .set("segment.bytes", &segment_bytes)
                    .set("segment.ms", &segment_ms)
            }
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT));
    let results = admin
        .create_topics(&wanted, &options)
        .await
        .map_err(|error| errors::unavailable("creating topics", &error))?;
    for result in results {
        match result {
            Ok(name) => tracing::info!(topic = name, "created"),
            // Another process was faster; its shape is verified like any other.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(LogError::Topic {
                    topic,
                    reason: format!(
                        "cannot be created ({code}); check log.kafka.replication_factor against the number \
                         of brokers and the user's permissions, or create it by hand"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Retention removes whole closed segments: an eighth of what is kept is kept too long at most.
/// A segment has to hold the largest batch.
fn segment_bytes(config: &LogConfig) -> u64 {
    let least = 2 * max_batch_bytes(config.max_record_bytes) as u64;
    match config.retention_bytes {
        0 => MOST_SEGMENT_BYTES,
        kept => (kept / 8).clamp(least, MOST_SEGMENT_BYTES.max(least)),
    }
}

fn segment_ms(config: &LogConfig) -> u64 {
    (config.retention_seconds.saturating_mul(1000) / 8).clamp(60_000, 7 * 24 * 3_600_000)
}

async fn verify_configs(
    config: &LogConfig,
    names: &Names,
    admin: &AdminClient<DefaultClientContext>,
) -> Result<()> {
    let resources: Vec<ResourceSpecifier<'_>> = names
        .all()
        .map(|(_, name)| ResourceSpecifier::Topic(name))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let described = admin
        .describe_configs(&resources, &options)
        .await
        .map_err(|error| errors::unavailable("reading the topics' configuration", &error))?;
    for ((topic, name), described) in names.all().zip(described) {
        match described {
            Ok(resource) => verify_config(config, topic, name, &resource)?,
            Err(code) => {
                return Err(LogError::Topic {
                    topic: name.to_owned(),
                    reason: format!(
                        "its configuration cannot be read ({code}); let the user describe it"
                    ),
                });
            }
        }
    }
    Ok(())
}

fn verify_config(
    config: &LogConfig,
    topic: Topic,
    name: &str,
    found: &ConfigResource,
) -> Result<()> {
    let value = |key: &str| found.get(key).and_then(|entry| entry.value.as_deref());
    let wrong = |reason: String| {
        Err(LogError::Topic {
            topic: name.to_owned(),
            reason,
        })
    };
    let wanted = if topic.compacted() {
        "compact"
    } else {
        "delete"
    };
    if let Some(policy) = value("cleanup.policy")
        && policy != wanted
    {
        return wrong(format!("has cleanup.policy={policy}; set it to {wanted}"));
    }
    if let Some(limit) = value("max.message.bytes").and_then(|v| v.parse::<usize>().ok())
        && limit < max_batch_bytes(config.max_record_bytes)
    {
        return wrong(format!(
            "has max.message.bytes={limit}; raise it to {}, or lower log.max_record_bytes",
            max_batch_bytes(config.max_record_bytes)
        ));
    }
    Ok(())
}
