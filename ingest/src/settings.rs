//! Settings, as the configuration file's `[ingest]` section has them.

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestSettings {
    /// Largest body, in bytes, both as sent and decompressed; a larger one gets 413.
    pub max_body_bytes: usize,
    /// Most fixes of one request; more get 413.
    pub max_batch: usize,
    /// How long a client may take to send its body, in milliseconds; then it gets 408.
    pub body_timeout_ms: u64,
    /// How many started and how many stopped sessions are remembered, for repeats and for fixes
    /// that come after a stop. About 100 bytes each.
    pub remembered_sessions: usize,
    /// How many tenants' rate limits are kept. About 150 bytes each.
    pub limited_tenants: usize,
    /// How many devices' rate limits are kept. About 100 bytes each.
    pub limited_devices: usize,
}

impl Default for IngestSettings {
    fn default() -> Self {
        IngestSettings {
            max_body_bytes: 1 << 20,
            max_batch: 1000,
            body_timeout_ms: 30_000,
            remembered_sessions: 100_000,
            limited_tenants: 20_000,
            limited_devices: 1_000_000,
        }
    }
}

impl IngestSettings {
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }
}
