//! The `[control]` section of the configuration.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// Names this node over its restarts; unique among control nodes.
    pub node: String,
    /// Lanes of a new tenant whose creation does not say how many.
    pub default_lanes: u32,
    /// How often the outbox is looked at without being told of a change, in milliseconds.
    pub relay_poll_ms: u64,
    /// How long a control node that vanished keeps others from relaying, in milliseconds. Longer
    /// than the bound on an append (`log.kafka.delivery_timeout_ms`).
    pub relay_lease_ms: u64,
    /// How long the log keeps events, in seconds: the log's own setting. 0 where that is not known.
    #[serde(skip)]
    pub retention_seconds: u64,
    /// Lets destinations have `http://` addresses.
    pub allow_plain_http: bool,
    /// Requests a second of one key; 0 is no limit.
    pub key_requests_per_second: u32,
    /// Requests a second of one address; 0 is no limit.
    pub address_requests_per_second: u32,
    /// How often the heads of audit trails that grew are logged, in seconds.
    pub audit_anchor_seconds: u64,
}

impl Default for ControlSettings {
    fn default() -> Self {
        ControlSettings {
            node: "control".to_owned(),
            default_lanes: 4,
            relay_poll_ms: 100,
            relay_lease_ms: 45_000,
            retention_seconds: 7 * 86_400,
            allow_plain_http: false,
            key_requests_per_second: 1000,
            address_requests_per_second: 2000,
            audit_anchor_seconds: 3600,
        }
    }
}
