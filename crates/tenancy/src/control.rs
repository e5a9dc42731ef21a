//! What control changes say: the JSON bodies of `tenant-events`, and the capability by which
//! a role acts for the tenant whose record it handles.

use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::{DeviceId, Placement, Principal, TenantId, TenantScope};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    Active,
    Suspended,
    Closing,
    Closed,
    /// One that this version does not know: not active. Read, and never written.
    #[serde(other, skip_serializing)]
    Other,
}

impl TenantState {
    /// Closing or closed: nothing more comes of it.
    pub fn is_ending(self) -> bool {
        matches!(self, TenantState::Closing | TenantState::Closed)
    }
}

/// Limits of a tenant. Zero means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Events a second, over all ingest nodes together.
    pub events_per_second: u32,
    /// Events a second of one device.
    pub device_events_per_second: u32,
    /// How far `recorded_at` may be ahead of `received_at` before it is flagged, in seconds.
    pub ahead_seconds: u32,
    /// Events in a day (UTC).
    pub events_per_day: u64,
    /// Bytes of accepted events in a day (UTC).
    pub bytes_per_day: u64,
    pub devices: u32,
    /// People: keys with a role that belong to no service account.
    pub users: u32,
    pub destinations: u32,
    /// Open websockets and event streams, over all sinks together.
    pub sockets: u32,
    /// How far back the tenant's stream may be read, in seconds.
    pub retention_seconds: u64,
    /// Tenants and namespaces below it.
    pub tenants: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            events_per_second: 0,
            device_events_per_second: 0,
            ahead_seconds: 300,
            events_per_day: 0,
            bytes_per_day: 0,
            devices: 0,
            users: 0,
            destinations: 0,
            sockets: 0,
            retention_seconds: 0,
            tenants: 0,
        }
    }
}

/// What a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantKind {
    /// A customer, or a customer of its parent.
    #[default]
    Tenant,
    /// A project's environment, which belongs to its parent.
    Namespace,
    /// The one that every tenant reads and writes.
    Default,
    /// The operator's own stream, to which every tenant may subscribe.
    Runtime,
    /// The operators' own.
    Platform,
    /// Reads of other tenants what they grant it, and has nothing itself.
    Partner,
    /// One that this version does not know: nobody is let in. Read, and never written.
    #[serde(other, skip_serializing)]
    Other,
}

/// Body of a `tenant` change; of a deletion too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantBody {
    pub slug: String,
    pub parent: Option<TenantId>,
    #[serde(default)]
    pub kind: TenantKind,
    pub state: TenantState,
    pub placement: Placement,
    /// What it may use itself: what it has given to tenants below it is taken off. So the limits
    /// of a family add up to those of its head, and nobody has to add up usage over a family.
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub options: Options,
    /// What it was called until lately, the last ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerSlug>,
}

/// A slug that a tenant had, and that leads to it for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSlug {
    pub slug: String,
    /// In microseconds.
    pub until: i64,
}

impl TenantBody {
    /// Of an active customer without limits or options.
    pub fn plain(slug: impl Into<String>, placement: Placement) -> Self {
        TenantBody {
            slug: slug.into(),
            parent: None,
            kind: TenantKind::Tenant,
            state: TenantState::Active,
            placement,
            limits: Limits::default(),
            options: Options::default(),
            former: Vec::new(),
        }
    }

    /// Whether anybody may do anything in it.
    pub fn is_active(&self) -> bool {
        self.state == TenantState::Active && self.kind != TenantKind::Other
    }
}

/// Body of a `device` change; of its removal too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceBody {
    /// The control version that registered the device (the last time).
    pub since: i64,
    /// Its credentials let it do nothing; it is known as before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// Body of a `credential` change: whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialBody {
    pub device_id: DeviceId,
}

/// Body of a `key` change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBody {
    /// Names of [`crate::Grant`]s.
    pub grants: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationState {
    Active,
    Disabled,
}

/// Body of a `destination` change. The address and the secret stay in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationBody {
    /// `webhook`
    pub kind: String,
    pub state: DestinationState,
    /// Event types it wants; empty for all.
    #[serde(default)]
    pub event_types: Vec<String>,
    /// Devices it wants; empty for all.
    #[serde(default)]
    pub devices: Vec<String>,
    /// In microseconds. What was received from then on is for it.
    pub created_at: i64,
}

/// What is known of who has a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// Registered, and never proved. Means nothing to requests, and keeps nobody else away.
    Pending,
    /// Names its tenant. Of one tenant at a time.
    Live,
    /// Was live; its proof has failed for too long.
    Failing,
    /// One that this version does not know: names nobody. Read, and never written.
    #[serde(other, skip_serializing)]
    Other,
}

/// Body of a `host` change; the id is the host. The certificate stays in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBody {
    pub state: HostState,
    /// Whether it has a certificate of its own.
    #[serde(default)]
    pub certificate: bool,
}

/// Body of a `grant` change: what a partner may read of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantBody {
    pub partner: TenantId,
    /// Names of event types; at least one.
    pub event_types: Vec<String>,
    /// Devices; empty for all.
    #[serde(default)]
    pub devices: Vec<String>,
    /// In microseconds.
    pub expires_at: i64,
}

/// The capability of a role to act for the tenant of a record it read from the log, which only
/// roles can write. Composition makes one for each role; no request handler holds one.
#[derive(Debug, Clone, Copy)]
pub struct RoleAuthority(&'static str);

impl RoleAuthority {
    pub fn for_role(role: &'static str) -> Self {
        RoleAuthority(role)
    }

    pub fn scope(&self, tenant: TenantId) -> TenantScope {
        TenantScope::new(tenant, Principal::Role(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_a_later_version_are_read_as_what_nobody_gets_into_and_never_written() {
        let id = TenantId::from_u128(1);
        let plain = TenantBody::plain("acme", Placement::first(id, 1, 4));
        assert!(plain.is_active());
        let mut json = serde_json::to_value(&plain).unwrap();
        json["kind"] = "archive".into();
        let strange: TenantBody = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(
            (strange.kind, strange.is_active()),
            (TenantKind::Other, false)
        );
        assert!(serde_json::to_value(&strange).is_err());
        json["kind"] = "tenant".into();
        json["state"] = "hibernating".into();
        let strange: TenantBody = serde_json::from_value(json).unwrap();
        assert_eq!(
            (strange.state, strange.is_active()),
            (TenantState::Other, false)
        );
        assert!(serde_json::to_value(&strange).is_err());
        let host: HostBody = serde_json::from_str(r#"{"state": "parked"}"#).unwrap();
        assert_eq!(host.state, HostState::Other);
        assert!(serde_json::to_value(&host).is_err());
    }
}
