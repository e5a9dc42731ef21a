//! What control changes say: the JSON bodies of `tenant-events`, and the capability by which
//! a role acts for the tenant whose record it handles.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, Placement, Principal, TenantId, TenantScope};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    Active,
    Suspended,
    Closing,
    Closed,
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
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            events_per_second: 0,
            device_events_per_second: 0,
            ahead_seconds: 300,
        }
    }
}

/// Body of a `tenant` change; of a deletion too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantBody {
    pub slug: String,
    pub parent: Option<TenantId>,
    pub state: TenantState,
    pub placement: Placement,
    #[serde(default)]
    pub limits: Limits,
}

/// Body of a `device` change; of its removal too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceBody {
    /// The control version that registered the device (the last time).
    pub since: i64,
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

/// Whether `text` can be a tenant's slug: 2 to 40 of a–z 0–9 and single hyphens, beginning with
/// a letter and not ending with a hyphen.
pub fn is_slug(text: &str) -> bool {
    (2..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
