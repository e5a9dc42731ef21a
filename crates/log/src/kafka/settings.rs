//! Client settings: the one place that knows librdkafka's property names.

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::topics::Names;
use crate::{GroupSpec, LogConfig, LogError, Result};

/// Room in a request for what surrounds the largest record: the batch's and the record's own
/// framing, and the other records of the batch.
const FRAMING_BYTES: usize = 64 * 1024;

/// Kafka's default for `max.message.bytes`; batches grow up to `batch.size`, which is below it.
const LEAST_BATCH_BYTES: usize = 1 << 20;

/// Bytes that one consumer fetches ahead of its thread.
const FETCH_AHEAD_KBYTES: u32 = 32 * 1024;
/// Enough to end the wait of a member that lets records be held back.
const PATIENT_FETCH_BYTES: usize = 64 * 1024;

/// Silence of a connection of a transactional producer after which it is closed, in milliseconds.
/// librdkafka bounds neither its search for a group's coordinator nor the wait for its answer: it
/// looks again whenever a connection comes or goes, and without this none need ever do so
/// (confluentinc/librdkafka#5456). It must outlast what a healthy broker takes for an answer.
const SILENCE_MS: &str = "10000";

/// Silence of a consumer's own thread after which it is taken for dead. The thread polls
/// whatever the application does, so this only has to outlast a slow revocation.
const LEAST_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Settings of every client of one log.
#[derive(Clone)]
pub(super) struct Settings {
    base: ClientConfig,
    linger_ms: f64,
    compression: String,
    max_batch_bytes: usize,
    transaction_timeout_ms: u32,
    delivery_timeout_ms: u32,
    session_timeout: Duration,
    names: Names,
}

impl Settings {
    pub(super) fn new(config: &LogConfig) -> Result<Self> {
        let kafka = &config.kafka;
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", &kafka.bootstrap)
            .set("client.id", "laneway")
            .set("statistics.interval.ms", "0")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000")
            .set("security.protocol", &kafka.security)
            .set_log_level(RDKafkaLogLevel::Warning);
        let security = kafka.security.to_ascii_lowercase();
        if !["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"].contains(&security.as_str()) {
            return Err(LogError::Config(format!(
                "log.kafka.security is {:?}; set plaintext, ssl, sasl_plaintext or sasl_ssl",
                kafka.security
            )));
        }
        if security.ends_with("ssl") && !kafka.ca_file.is_empty() {
            base.set("ssl.ca.location", &kafka.ca_file);
        }
        if security.starts_with("sasl") {
            base.set("sasl.mechanism", &kafka.sasl.mechanism)
                .set("sasl.username", &kafka.sasl.username)
                .set("sasl.password", &kafka.sasl.password);
        }
        Ok(Settings {
            base,
            linger_ms: kafka.linger_ms,
            compression: kafka.compression.clone(),
            max_batch_bytes: max_batch_bytes(config.max_record_bytes),
            transaction_timeout_ms: kafka.transaction_timeout_ms,
            delivery_timeout_ms: kafka.delivery_timeout_ms,
            session_timeout: Duration::from_millis(config.session_timeout_ms),
            names: Names::new(config),
        })
    }

    pub(super) fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    pub(super) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.transaction_timeout_ms.into())
    }

    pub(super) fn delivery_timeout(&self) -> Duration {
        Duration::from_millis(self.delivery_timeout_ms.into())
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    fn group(&self, spec: &GroupSpec) -> String {
        self.names.group(&spec.group, spec.set)
    }

    /// For the admin client.
    pub(super) fn admin(&self) -> ClientConfig {
        self.base.clone()
    }

    /// For questions about metadata and offsets; with `group`, as the brokers know it, about its
    /// committed offsets.
    pub(super) fn query(&self, isolation: Isolation, group: Option<&str>) -> ClientConfig {
        let mut config = self.base.clone();
        config
            .set("isolation.level", isolation.name())
            .set("enable.auto.commit", "false");
        if let Some(group) = group {
            config.set("group.id", group);
        }
        config
    }

    /// For appends: idempotent, so that retries neither repeat nor reorder.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.producing();
        config.set("message.timeout.ms", self.delivery_timeout_ms.to_string());
        config.set(
            "request.timeout.ms",
            self.delivery_timeout_ms.clamp(1, 30_000).to_string(),
        );
        config
    }

    /// For units of work of one member.
    pub(super) fn transactional(&self, spec: &GroupSpec) -> ClientConfig {
        let mut config = self.producing();
        config
            .set("connections.max.idle.ms", SILENCE_MS)
            // A unit waits for what is on its way and asks only for what was refused.
            .set("delivery.report.only.error", "true")
            // A unit is sent when it is whole. A partition has one request under way at a time
            // (confluentinc/librdkafka#4989), and for as long as what has lingered enough waits
            // for that one, the thread that sends polls without a pause.
            .set("linger.ms", (self.transaction_timeout_ms / 2).to_string())
            .set(
                "transactional.id",
                format!("{}-{}", self.group(spec), spec.instance),
            )
            .set(
                "transaction.timeout.ms",
                self.transaction_timeout_ms.to_string(),
            )
            .set(
                "message.timeout.ms",
                self.transaction_timeout_ms.to_string(),
            );
        config
    }

    fn producing(&self) -> ClientConfig {
        let mut config = self.base.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", self.linger_ms.to_string())
            .set("compression.codec", &self.compression)
            .set("message.max.bytes", self.max_batch_bytes.to_string())
            // Bytes in flight are bounded by this crate, which knows what a batch is.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", i32::MAX.to_string())
            .set("retry.backoff.ms", "50");
        config
    }

    /// For a member of a group. `range` gives the same partition of co-partitioned topics to
    /// one member.
    pub(super) fn member(&self, spec: &GroupSpec) -> ClientConfig {
        let mut config = self.consuming();
        let poll_interval = LEAST_POLL_INTERVAL.max(self.session_timeout * 2);
        config
            .set("group.id", self.group(spec))
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "range")
            .set(
                "session.timeout.ms",
                self.session_timeout.as_millis().to_string(),
            )
            .set(
                "heartbeat.interval.ms",
                (self.session_timeout.as_millis() / 3).max(1).to_string(),
            )
            .set(
                "max.poll.interval.ms",
                poll_interval.as_millis().to_string(),
            )
            // Where retention has overtaken a committed offset, what is left is read.
            .set("auto.offset.reset", "earliest")
            // Of several topics an end of partition cannot be told apart.
            .set("enable.partition.eof", (spec.topics.len() == 1).to_string());
        if !spec.fetch_wait.is_zero() {
            config
                .set("fetch.min.bytes", PATIENT_FETCH_BYTES.to_string())
                .set("fetch.wait.max.ms", spec.fetch_wait.as_millis().to_string());
        }
        config
    }

    /// For reading from given positions, without a group.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.consuming();
        config
            // Never joined: librdkafka wants a name before it hands out a consumer queue.
            .set("group.id", self.names.group("reader", 0))
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true");
        config
    }

    fn consuming(&self) -> ClientConfig {
        let mut config = self.base.clone();
        config
            .set("isolation.level", Isolation::Committed.name())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A partition that is assigned, and the news that an end is reached, wait this long for
            // the fetch that is under way. Records end the wait at once.
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", FETCH_AHEAD_KBYTES.to_string())
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100");
        config
    }
}

/// What a client sees of open transactions.
#[derive(Clone, Copy)]
pub(super) enum Isolation {
    /// Up to the last stable offset.
    Committed,
    /// Up to the high watermark.
    Uncommitted,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        }
    }
}

/// The topics' `max.message.bytes`, which bounds a batch of records.
pub(super) fn max_batch_bytes(max_record_bytes: usize) -> usize {
    max_record_bytes.max(LEAST_BATCH_BYTES) + FRAMING_BYTES
}
