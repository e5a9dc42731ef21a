//! Configuration of the log, as the configuration file's `[log]` section has it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::TopicSets;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    Embedded,
    Kafka,
}

/// What to do at start about topics that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicSetup {
    /// Create what is missing, verify the rest.
    Create,
    /// Only verify: a missing topic is an error.
    Verify,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    pub backend: Backend,
    pub topics: TopicSetup,
    /// Put before every physical topic name.
    pub topic_prefix: String,
    /// Topic sets beside the shared one, in the order of their numbers.
    pub topic_sets: Vec<String>,
    /// Partitions of every co-partitioned topic of a set.
    pub partitions: u32,
    /// How long records of a topic that is not compacted are kept, in seconds.
    pub retention_seconds: u64,
    /// How many bytes are kept per partition of a topic that is not compacted; 0 is no bound.
    pub retention_bytes: u64,
    /// Largest key + value + headers of one record.
    pub max_record_bytes: usize,
    /// Bytes that may wait for their acknowledgement in one process; more is refused as busy.
    pub max_queued_bytes: usize,
    /// How long a member may be silent before its partitions move, in milliseconds.
    pub session_timeout_ms: u64,
    pub embedded: EmbeddedConfig,
    pub kafka: KafkaConfig,
}

impl LogConfig {
    /// What is put before the topics' names, of each set.
    pub fn prefixes(&self) -> impl Iterator<Item = String> {
        let sets = TopicSets::of(self);
        let (all, prefix) = (sets.all(), &self.topic_prefix);
        let of = move |set| format!("{prefix}{}", sets.within(set, ""));
        all.map(of)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Folder of the embedded log.
    pub path: PathBuf,
    /// Appends are refused as full below this much free space on the disk.
    pub min_free_bytes: u64,
    /// redb's page cache.
    pub cache_bytes: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port,host:port`
    pub bootstrap: String,
    /// For topics that are created.
    pub replication_factor: i32,
    /// For topics that are created.
    pub min_insync_replicas: u32,
    /// How long the producer waits to fill a batch, in milliseconds.
    pub linger_ms: f64,
    /// none, lz4, zstd, snappy or gzip.
    pub compression: String,
    /// Bound on an open transaction, which holds every reader back, in milliseconds.
    pub transaction_timeout_ms: u32,
    /// Bound on an append, retries included, in milliseconds.
    pub delivery_timeout_ms: u32,
    /// plaintext, ssl, sasl_plaintext or sasl_ssl.
    pub security: String,
    /// PEM file of the certificate authorities; empty for the system's.
    pub ca_file: String,
    pub sasl: SaslConfig,
}

impl KafkaConfig {
    /// One broker without encryption, as tests and measurements have it.
    pub fn plaintext(bootstrap: impl Into<String>) -> Self {
        KafkaConfig {
            bootstrap: bootstrap.into(),
            replication_factor: 1,
            min_insync_replicas: 1,
            linger_ms: 1.0,
            compression: "none".into(),
            transaction_timeout_ms: 5_000,
            delivery_timeout_ms: 20_000,
            security: "plaintext".into(),
            ca_file: String::new(),
            sasl: SaslConfig::default(),
        }
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN.
    pub mechanism: String,
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for SaslConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaslConfig")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
