//! Limits of a tenant, as the API shows and takes them.

use laneway_tenancy::control::Limits;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Zero, or nothing said, means no limit.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsView {
    /// Events a second, over all ingest nodes together.
    pub(crate) events_per_second: u32,
    /// Events a second of one device.
    pub(crate) device_events_per_second: u32,
    /// Events in a day (UTC).
    pub(crate) events_per_day: u64,
    /// Bytes of accepted events in a day (UTC).
    pub(crate) bytes_per_day: u64,
    /// Registered devices.
    pub(crate) devices: u32,
    /// People: keys with a role that belong to no service account.
    pub(crate) users: u32,
    /// Destinations.
    pub(crate) destinations: u32,
    /// Open websockets and event streams, over all sinks together.
    pub(crate) sockets: u32,
    /// How far back the stream may be read, in seconds.
    pub(crate) retention_seconds: u64,
    /// Tenants and namespaces below it.
    pub(crate) tenants: u32,
    /// How far ahead of the server's clock a fix may be before it is flagged, in seconds.
    pub(crate) ahead_seconds: u32,
}

impl Default for LimitsView {
    fn default() -> Self {
        Limits::default().into()
    }
}

impl From<LimitsView> for Limits {
    fn from(view: LimitsView) -> Self {
        Limits {
            events_per_second: view.events_per_second,
            device_events_per_second: view.device_events_per_second,
            events_per_day: view.events_per_day,
            bytes_per_day: view.bytes_per_day,
            devices: view.devices,
            users: view.users,
            destinations: view.destinations,
            sockets: view.sockets,
            retention_seconds: view.retention_seconds,
            tenants: view.tenants,
            ahead_seconds: view.ahead_seconds,
        }
    }
}

impl From<Limits> for LimitsView {
    fn from(limits: Limits) -> Self {
        LimitsView {
            events_per_second: limits.events_per_second,
            device_events_per_second: limits.device_events_per_second,
            events_per_day: limits.events_per_day,
            bytes_per_day: limits.bytes_per_day,
            devices: limits.devices,
            users: limits.users,
            destinations: limits.destinations,
            sockets: limits.sockets,
            retention_seconds: limits.retention_seconds,
            tenants: limits.tenants,
            ahead_seconds: limits.ahead_seconds,
        }
    }
}
