//! The contracts that this role reads and writes, borrowing what they say: they serialise alike.

use std::collections::BTreeMap;

use laneway_schemas::{Attributes, StateKind};
use serde::{Deserialize, Serialize, Serializer};

/// [`laneway_schemas::LocationUpdate`]
#[derive(Deserialize)]
pub struct FixView<'a> {
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub fix_id: &'a str,
    #[serde(default)]
    pub session_id: Option<&'a str>,
    pub recorded_at: i64,
    pub received_at: i64,
    pub latitude: f64,
    pub longitude: f64,
    #[serde(default)]
    pub altitude_m: Option<f64>,
    #[serde(default)]
    pub accuracy_m: Option<f64>,
    #[serde(default)]
    pub speed_mps: Option<f64>,
    #[serde(default)]
    pub heading_deg: Option<f64>,
    #[serde(default)]
    pub battery: Option<f64>,
    #[serde(default, borrow)]
    pub attributes: BTreeMap<&'a str, &'a str>,
    pub control_version: i64,
}

/// [`laneway_schemas::Position`]
#[derive(Serialize)]
pub struct PositionView<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub fix_id: &'a str,
    pub session_id: Option<&'a str>,
    pub recorded_at: i64,
    pub received_at: i64,
    pub latitude: f64,
    pub longitude: f64,
    pub altitude_m: Option<f64>,
    pub accuracy_m: Option<f64>,
    pub speed_mps: Option<f64>,
    pub heading_deg: Option<f64>,
    pub battery: Option<f64>,
    pub attributes: &'a BTreeMap<&'a str, &'a str>,
    pub latest: bool,
    pub late: bool,
    pub ahead: bool,
}

/// [`laneway_schemas::SessionStarted`]
#[derive(Serialize)]
pub struct StartedView<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    pub started_at: i64,
    pub received_at: i64,
    pub attributes: &'a Attributes,
}

/// [`laneway_schemas::SessionUpdated`]
#[derive(Serialize)]
pub struct UpdatedView<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    pub started_at: Option<i64>,
    pub last_fix_at: i64,
    pub fixes: i64,
    pub distance_m: f64,
    pub duration_s: f64,
}

/// [`laneway_schemas::SessionStopped`]
#[derive(Serialize)]
pub struct StoppedView<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    pub started_at: Option<i64>,
    pub stopped_at: i64,
    pub attributes: &'a Attributes,
    pub fixes: i64,
    pub distance_m: f64,
    pub duration_s: f64,
}

/// [`laneway_schemas::Window`]
#[derive(Serialize)]
pub struct WindowView<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub window_start: i64,
    pub window_end: i64,
    pub fixes: i64,
    pub distance_m: f64,
    pub max_speed_mps: Option<f64>,
}

/// [`laneway_schemas::ProcessorState`]
#[derive(Serialize)]
pub struct StateView<'a> {
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub kind: StateKind,
    pub clock: i64,
    #[serde(serialize_with = "as_bytes")]
    pub body: &'a [u8],
}

fn as_bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
