//! The contracts as Rust types. Times are microseconds since 1970, UTC.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::Attributes;

/// A fix, as accepted by ingest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocationUpdate {
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// The client's id of the fix, or one derived from device and recorded_at.
    pub fix_id: String,
    /// The session the device said the fix belongs to.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Event time: the device's clock.
    pub recorded_at: i64,
    /// Ingest time: the server's clock.
    pub received_at: i64,
    /// Degrees north, WGS 84.
    pub latitude: f64,
    /// Degrees east, WGS 84.
    pub longitude: f64,
    /// Metres above the ellipsoid.
    #[serde(default)]
    pub altitude_m: Option<f64>,
    /// Radius of 68 % confidence, in metres.
    #[serde(default)]
    pub accuracy_m: Option<f64>,
    /// Metres per second over ground.
    #[serde(default)]
    pub speed_mps: Option<f64>,
    /// Degrees clockwise from true north.
    #[serde(default)]
    pub heading_deg: Option<f64>,
    /// Charge from 0 to 1.
    #[serde(default)]
    pub battery: Option<f64>,
    /// Free attributes, as the client sent them.
    #[serde(default)]
    pub attributes: Attributes,
    /// The tenant's control version that the writer authenticated against.
    pub control_version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionAction {
    Start,
    Stop,
}

/// The start or stop of a session, as accepted by ingest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionEvent {
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// The session, unique within its device.
    pub session_id: String,
    /// What happened.
    pub action: SessionAction,
    /// Event time of the start or stop.
    pub at: i64,
    /// Ingest time.
    pub received_at: i64,
    /// Free attributes, as the client sent them.
    #[serde(default)]
    pub attributes: Attributes,
    /// The tenant's control version that the writer authenticated against.
    pub control_version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlKind {
    Tenant,
    Device,
    Credential,
    Key,
    Destination,
    Host,
    Grant,
    /// A kind that this version does not know: the change counts, and is about nothing it has.
    #[serde(other)]
    Other,
}

/// A control change: what a tenant, device, credential, key, destination, host or grant is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantEvent {
    /// The tenant, ten_….
    pub tenant_id: String,
    /// Numbers the tenant's control changes, from 1.
    pub version: i64,
    /// What changed; other where the reader does not know it: the change still counts.
    pub kind: ControlKind,
    /// Its id; the tenant's own for a tenant.
    pub id: String,
    /// Gone or revoked.
    pub deleted: bool,
    /// From which event time on the change holds.
    pub effective_from: i64,
    /// JSON of its public properties, never a secret. Of what is deleted, for a tenant and a device the last ones, else an empty object.
    pub body: String,
}

/// A record that isolation or decoding refused, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Why, as a stable code.
    pub reason: String,
    /// Why, in words.
    pub detail: String,
    /// Logical topic that it came from.
    pub topic: String,
    /// Partition that it came from.
    pub partition: i32,
    /// Offset that it came from.
    pub offset: i64,
    /// received_at of the record where known, else its append time.
    pub refused_at: i64,
    /// Its key.
    pub key: ByteBuf,
    /// Its value.
    #[serde(default)]
    pub value: Option<ByteBuf>,
    /// Its headers.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, ByteBuf>,
}

/// A fix that was accepted, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Hash of tenant, device, kind and what opened it.
    pub entity_id: String,
    /// Counts the emissions of the entity; event id = entity_id.revision.
    pub revision: i32,
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// The id of the fix.
    pub fix_id: String,
    /// The session the device said it belongs to.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Event time.
    pub recorded_at: i64,
    /// Ingest time.
    pub received_at: i64,
    /// Degrees north, WGS 84.
    pub latitude: f64,
    /// Degrees east, WGS 84.
    pub longitude: f64,
    /// Metres above the ellipsoid.
    #[serde(default)]
    pub altitude_m: Option<f64>,
    /// Radius of 68 % confidence, in metres.
    #[serde(default)]
    pub accuracy_m: Option<f64>,
    /// Metres per second over ground.
    #[serde(default)]
    pub speed_mps: Option<f64>,
    /// Degrees clockwise from true north.
    #[serde(default)]
    pub heading_deg: Option<f64>,
    /// Charge from 0 to 1.
    #[serde(default)]
    pub battery: Option<f64>,
    /// Free attributes, as the client sent them.
    #[serde(default)]
    pub attributes: Attributes,
    /// It was the device's latest by event time when it was read.
    pub latest: bool,
    /// It was older than the horizon: not in windows, sessions or distances.
    pub late: bool,
    /// More than 5 minutes ahead of received_at: never the latest, not in windows, sessions or distances.
    pub ahead: bool,
}

/// A session began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStarted {
    /// Hash of tenant, device, kind and what opened it.
    pub entity_id: String,
    /// Counts the emissions of the entity; event id = entity_id.revision.
    pub revision: i32,
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// The session, unique within its device.
    pub session_id: String,
    /// Event time of its start.
    pub started_at: i64,
    /// Ingest time.
    pub received_at: i64,
    /// Free attributes, as the client sent them.
    #[serde(default)]
    pub attributes: Attributes,
}

/// What an open session amounts to so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionUpdated {
    /// Hash of tenant, device, kind and what opened it.
    pub entity_id: String,
    /// Counts the emissions of the entity; event id = entity_id.revision.
    pub revision: i32,
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// The session, unique within its device.
    pub session_id: String,
    /// Event time of its start.
    #[serde(default)]
    pub started_at: Option<i64>,
    /// Event time of its last fix.
    pub last_fix_at: i64,
    /// Fixes recorded up to its stop.
    pub fixes: i64,
    /// Haversine distance along its fixes in event-time order, in metres (radius 6,371,008.8 m).
    pub distance_m: f64,
    /// From started_at (or its first fix) to its stop (or its last fix), in seconds.
    pub duration_s: f64,
}

/// A session ended; a fix read later that precedes the stop gives a new revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStopped {
    /// Hash of tenant, device, kind and what opened it.
    pub entity_id: String,
    /// Counts the emissions of the entity; event id = entity_id.revision.
    pub revision: i32,
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// The session, unique within its device.
    pub session_id: String,
    /// Event time of its start.
    #[serde(default)]
    pub started_at: Option<i64>,
    /// Event time of its stop.
    pub stopped_at: i64,
    /// Free attributes, as the client sent them.
    #[serde(default)]
    pub attributes: Attributes,
    /// Fixes recorded up to its stop.
    pub fixes: i64,
    /// Haversine distance along its fixes in event-time order, in metres (radius 6,371,008.8 m).
    pub distance_m: f64,
    /// From started_at (or its first fix) to its stop (or its last fix), in seconds.
    pub duration_s: f64,
}

/// One device's minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Hash of tenant, device, kind and what opened it.
    pub entity_id: String,
    /// Counts the emissions of the entity; event id = entity_id.revision.
    pub revision: i32,
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The device, unique within its tenant.
    pub device_id: String,
    /// Event time, a whole minute; inclusive.
    pub window_start: i64,
    /// Event time, exclusive.
    pub window_end: i64,
    /// Fixes recorded in the window.
    pub fixes: i64,
    /// Haversine distance to each fix of the window from the one before it, which may lie up to 5 minutes before the window, in metres.
    pub distance_m: f64,
    /// The highest reported speed; where a fix reports none, that from the fix before it (at most 5 minutes earlier).
    #[serde(default)]
    pub max_speed_mps: Option<f64>,
}

/// A quota of the tenant as a whole is nearly used up for the day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaWarning {
    /// Hash of tenant, day and quota.
    pub entity_id: String,
    /// Always 1: it is said once.
    pub revision: i32,
    /// The tenant, ten_….
    pub tenant_id: String,
    /// The day (UTC), as 2026-11-21.
    pub day: String,
    /// The limit's name: events_per_day or bytes_per_day.
    pub quota: String,
    /// What was used of it.
    pub used: i64,
    /// What may be used on a day.
    pub limit: i64,
    /// When that was noticed.
    pub warned_at: i64,
}

/// What the operator, or the platform itself, tells all tenants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Its own, made when it was given.
    pub entity_id: String,
    /// Always 1: it is said once.
    pub revision: i32,
    /// The namespace of notices, ten_….
    pub tenant_id: String,
    /// deployment, health, quota, breaker, maintenance or information; there may be more later.
    pub kind: String,
    /// info, warning or critical.
    pub severity: String,
    /// What it says, in a line.
    pub title: String,
    /// More of it.
    #[serde(default)]
    pub text: Option<String>,
    /// The same for programs, by name.
    #[serde(default)]
    pub details: Attributes,
    /// When it was given.
    pub noticed_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    Head,
    Block,
    Tick,
}

/// State of the processor for a device, written in the unit of work that changed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessorState {
    /// The tenant; empty for a tick.
    pub tenant_id: String,
    /// The device; empty for a tick.
    pub device_id: String,
    /// What of the state this is.
    pub kind: StateKind,
    /// The partition's clock: the highest received_at read, or a tick.
    pub clock: i64,
    /// The state, in the processor's own versioned layout.
    pub body: ByteBuf,
}

/// How far a destination has been served in a lane, or an event that it keeps refusing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkCursor {
    /// The tenant.
    pub tenant_id: String,
    /// The destination.
    pub destination_id: String,
    /// Generation of the placement that the offsets count in.
    pub generation: i32,
    /// The lane.
    pub lane: i32,
    /// Everything below it is delivered, parked or not wanted, but for the open offsets.
    pub offset: i64,
    /// Offsets below it that are still to be delivered, ascending.
    #[serde(default)]
    pub open: Vec<i64>,
    /// It rode at the lane's head when this was written: everything below the group's committed
    /// offset is done too, but for the open offsets.
    #[serde(default)]
    pub riding: bool,
    /// JSON of a dead letter. The record is then about that event alone.
    #[serde(default)]
    pub dead: Option<String>,
    /// Events that the destination has acknowledged in the lane since it was made, each once.
    #[serde(default)]
    pub delivered: i64,
}

/// What the sinks know together of a destination's health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DestinationHealth {
    /// The tenant.
    pub tenant_id: String,
    /// The destination.
    pub destination_id: String,
    /// Its breaker is open: as a whole it waits.
    pub open: bool,
    /// While it is open: when one attempt asks whether it is back.
    pub until: i64,
    /// Times in a row that it opened.
    pub opened: i32,
    /// Its last failure, in words.
    #[serde(default)]
    pub error: Option<String>,
    /// When that was.
    #[serde(default)]
    pub failed_at: Option<i64>,
    /// The sink that says so.
    pub instance: String,
}

/// Asks for dead letters of a destination to be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DestinationRedrive {
    /// The tenant.
    pub tenant_id: String,
    /// The destination.
    pub destination_id: String,
    /// The dead letter that is meant; null for all.
    #[serde(default)]
    pub event_id: Option<String>,
    /// Its lane; null for all.
    #[serde(default)]
    pub lane: Option<i32>,
    /// Those that were parked up to then.
    pub requested_at: i64,
}
