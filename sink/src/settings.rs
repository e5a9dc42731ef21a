//! The `[sink]` section of the configuration.

use serde::Deserialize;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSettings {
    /// Authenticates position tokens: at least 32 characters, the same for every sink of a
    /// deployment. Secret.
    pub token_key: String,
    #[serde(default)]
    pub stream: StreamSettings,
    #[serde(default)]
    pub delivery: DeliverySettings,
    #[serde(default)]
    pub webhook: WebhookSettings,
    #[serde(default)]
    pub projection: ProjectionSettings,
    #[serde(default)]
    pub metering: MeteringSettings,
}

impl SinkSettings {
    /// The defaults, with this token key.
    pub fn new(token_key: impl Into<String>) -> Self {
        SinkSettings {
            token_key: token_key.into(),
            stream: StreamSettings::default(),
            delivery: DeliverySettings::default(),
            webhook: WebhookSettings::default(),
            projection: ProjectionSettings::default(),
            metering: MeteringSettings::default(),
        }
    }
}

impl std::fmt::Debug for SinkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkSettings")
            .field("stream", &self.stream)
            .field("delivery", &self.delivery)
            .field("webhook", &self.webhook)
            .field("projection", &self.projection)
            .field("metering", &self.metering)
            .finish_non_exhaustive()
    }
}

/// Websockets and server-sent events.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSettings {
    /// Whether this process serves `/stream`.
    pub enabled: bool,
    /// Connections of one tenant to one sink.
    pub max_connections_per_tenant: usize,
    /// Bytes that may wait for one subscriber before it falls back to its own reading.
    pub queue_bytes: usize,
    /// Readers of history that are open at a time.
    pub history_readers: usize,
    /// Bytes of encoded events that are kept for those who fall behind the live tail, or go
    /// through the history together.
    pub history_bytes: usize,
    /// Largest message of a client, in bytes.
    pub max_message_bytes: usize,
    /// How often a token is sent while anything moves, in seconds.
    pub token_seconds: u64,
    /// How often a websocket is pinged, in seconds.
    pub ping_seconds: u64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings {
            enabled: true,
            max_connections_per_tenant: 10_000,
            queue_bytes: 256 * 1024,
            history_readers: 64,
            history_bytes: 64 << 20,
            max_message_bytes: 64 * 1024,
            token_seconds: 5,
            ping_seconds: 20,
        }
    }
}

/// The delivery engine, whatever the destination's kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliverySettings {
    /// Whether this process delivers to destinations.
    pub enabled: bool,
    /// Attempts in flight to one destination, divided by its tenant's lanes.
    pub concurrency: usize,
    /// Events of one destination and lane that may wait in memory before it reads by itself.
    pub pending_events: usize,
    /// Events that may wait in memory over all destinations of a process.
    pub waiting_events: usize,
    /// Readers of destinations that are behind, open at a time.
    pub catch_up_readers: usize,
    /// How often cursors are committed, in milliseconds.
    pub commit_ms: u64,
    /// First backoff after a failure, in milliseconds.
    pub backoff_ms: u64,
    /// Longest backoff, in milliseconds.
    pub max_backoff_ms: u64,
    /// Failures in a row, of several devices or of one, after which the destination as a whole
    /// waits.
    pub breaker_failures: u32,
    /// Refusals of one event, while others succeed, after which it goes to the dead letters.
    pub park_after: u32,
    /// Dead letters of one destination and lane. Where there are as many, a refused event makes
    /// its device wait.
    pub dead_letters: usize,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        DeliverySettings {
            enabled: true,
            concurrency: 64,
            pending_events: 1000,
            waiting_events: 200_000,
            catch_up_readers: 32,
            commit_ms: 1000,
            backoff_ms: 500,
            max_backoff_ms: 300_000,
            breaker_failures: 10,
            park_after: 8,
            dead_letters: 10_000,
        }
    }
}

/// Webhooks.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Allows `http://` addresses: for tests and closed networks.
    pub allow_http: bool,
    /// Networks such as `10.1.0.0/16` that may be reached although they are not public.
    pub allow_private_networks: Vec<String>,
    /// PEM file of certificate authorities that are trusted beside the public ones; empty: none.
    pub ca_file: String,
    /// Bound on one attempt, from resolving to the end of the answer, in milliseconds.
    pub timeout_ms: u64,
    /// Idle connections kept for one host.
    pub idle_connections: usize,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        WebhookSettings {
            allow_http: false,
            allow_private_networks: Vec::new(),
            ca_file: String::new(),
            timeout_ms: 15_000,
            idle_connections: 64,
        }
    }
}

/// The projection into the store.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionSettings {
    /// Whether this process projects positions and sessions into the store.
    pub enabled: bool,
    /// Records written in one transaction.
    pub batch_records: usize,
    /// Longest wait for a batch to fill, in milliseconds.
    pub linger_ms: u64,
}

impl Default for ProjectionSettings {
    fn default() -> Self {
        ProjectionSettings {
            enabled: true,
            batch_records: 2000,
            linger_ms: 50,
        }
    }
}

/// Counting what tenants use.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeteringSettings {
    /// Whether this process counts what tenants use into the store, and warns of quotas.
    pub enabled: bool,
    /// Records counted in one transaction.
    pub batch_records: usize,
    /// Longest wait for a batch to fill, in milliseconds.
    pub linger_ms: u64,
    /// Days for which the store remembers which devices were counted: as far behind metering may
    /// fall without counting a device twice.
    pub device_days: u32,
}

impl Default for MeteringSettings {
    fn default() -> Self {
        MeteringSettings {
            enabled: true,
            batch_records: 10_000,
            linger_ms: 500,
            device_days: 8,
        }
    }
}
