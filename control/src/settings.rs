//! The `[control]` section of the configuration.

use laneway_runtime::http::Cidr;
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
    /// How long an append may take before it is given up, in milliseconds: the log's own setting.
    /// 0 where it is not on its way to another machine.
    #[serde(skip)]
    pub append_bound_ms: u64,
    /// How long the log keeps events, in seconds: the log's own setting. 0 where that is not known.
    #[serde(skip)]
    pub retention_seconds: u64,
    /// After how long without input a processor says what it held back of a device, in seconds:
    /// the processor's own setting.
    #[serde(skip)]
    pub idle_close_seconds: u64,
    /// Lets destinations have `http://` addresses.
    pub allow_plain_http: bool,
    /// Requests a second of one key; 0 is no limit.
    pub key_requests_per_second: u32,
    /// Requests a second of one address; 0 is no limit.
    pub address_requests_per_second: u32,
    /// How often the heads of audit trails that grew are logged, in seconds.
    pub audit_anchor_seconds: u64,
    /// How hosts are proved: `[hosts.proof]`.
    #[serde(skip)]
    pub hosts: HostProofSettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostProofSettings {
    /// Address and port of the server that is asked for names; empty for the machine's own.
    pub resolver: String,
    /// Networks from which a proof's file may be fetched although they are not public.
    pub allow_private_networks: Vec<Cidr>,
    /// Bound on looking for the record, and on fetching the file, in milliseconds.
    pub timeout_ms: u64,
    /// A host is proved again after this long, in seconds; a tenth more or less.
    pub again_seconds: u64,
    /// After a proof that failed: the same.
    pub retry_seconds: u64,
    /// A host whose proofs fail for longer is live no more, in seconds.
    pub grace_seconds: u64,
    /// Hosts of one tenant.
    pub max_hosts: u32,
    /// How often it is looked for what is due, in milliseconds.
    #[serde(skip)]
    pub look_every_ms: u64,
    /// Where files are fetched.
    #[serde(skip)]
    pub http_port: u16,
}

impl Default for HostProofSettings {
    fn default() -> Self {
        HostProofSettings {
            resolver: String::new(),
            allow_private_networks: Vec::new(),
            timeout_ms: 10_000,
            again_seconds: 86_400,
            retry_seconds: 900,
            grace_seconds: 259_200,
            max_hosts: 100,
            look_every_ms: 10_000,
            http_port: 80,
        }
    }
}

impl ControlSettings {
    /// How long after a tenant or a device was refused something of it may still be appended, in
    /// microseconds: until all have heard of it (2 s), what they had let in is durable or given
    /// up, and clocks differ by no more than is left.
    pub(crate) fn settle_us(&self) -> i64 {
        i64::try_from(self.append_bound_ms.saturating_mul(1000))
            .unwrap_or(i64::MAX)
            .saturating_add(5_000_000)
    }
}

impl Default for ControlSettings {
    fn default() -> Self {
        ControlSettings {
            node: "control".to_owned(),
            default_lanes: 4,
            relay_poll_ms: 100,
            relay_lease_ms: 45_000,
            append_bound_ms: 0,
            retention_seconds: 7 * 86_400,
            idle_close_seconds: 120,
            allow_plain_http: false,
            key_requests_per_second: 1000,
            address_requests_per_second: 2000,
            audit_anchor_seconds: 3600,
            hosts: HostProofSettings::default(),
        }
    }
}
