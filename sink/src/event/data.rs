//! The `data` of each event type: the contract's fields under their own names and in its order, so
//! that they are read without being looked up; times as RFC 3339, absent fields left out. Read
//! from a record without copying what it says.

use std::collections::BTreeMap;

use laneway_schemas::{
    Contract, Notice, Position, QuotaWarning, SessionStarted, SessionStopped, SessionUpdated,
    Window,
};
use serde::{Deserialize, Serialize};

use super::time::Time;

/// An event's payload as it goes out.
pub trait EventData<'a>: Deserialize<'a> + Serialize {
    type Of: Contract;

    /// Event time: the CloudEvents `time`.
    fn time(&self) -> Time;
}

type Attributes<'a> = BTreeMap<&'a str, &'a str>;

#[derive(Deserialize, Serialize)]
pub struct PositionData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub fix_id: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<&'a str>,
    pub recorded_at: Time,
    pub received_at: Time,
    pub latitude: f64,
    pub longitude: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altitude_m: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mps: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery: Option<f64>,
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes<'a>,
    pub latest: bool,
    pub late: bool,
    pub ahead: bool,
}

impl<'a> EventData<'a> for PositionData<'a> {
    type Of = Position;

    fn time(&self) -> Time {
        self.recorded_at
    }
}

#[derive(Deserialize, Serialize)]
pub struct StartedData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    pub started_at: Time,
    pub received_at: Time,
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes<'a>,
}

impl<'a> EventData<'a> for StartedData<'a> {
    type Of = SessionStarted;

    fn time(&self) -> Time {
        self.started_at
    }
}

#[derive(Deserialize, Serialize)]
pub struct UpdatedData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    pub last_fix_at: Time,
    pub fixes: i64,
    pub distance_m: f64,
    pub duration_s: f64,
}

impl<'a> EventData<'a> for UpdatedData<'a> {
    type Of = SessionUpdated;

    fn time(&self) -> Time {
        self.last_fix_at
    }
}

#[derive(Deserialize, Serialize)]
pub struct StoppedData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    pub stopped_at: Time,
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes<'a>,
    pub fixes: i64,
    pub distance_m: f64,
    pub duration_s: f64,
}

impl<'a> EventData<'a> for StoppedData<'a> {
    type Of = SessionStopped;

    fn time(&self) -> Time {
        self.stopped_at
    }
}

#[derive(Deserialize, Serialize)]
pub struct WindowData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub window_start: Time,
    pub window_end: Time,
    pub fixes: i64,
    pub distance_m: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_speed_mps: Option<f64>,
}

impl<'a> EventData<'a> for WindowData<'a> {
    type Of = Window;

    fn time(&self) -> Time {
        self.window_end
    }
}

#[derive(Deserialize, Serialize)]
pub struct WarningData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub day: &'a str,
    pub quota: &'a str,
    pub used: i64,
    pub limit: i64,
    pub warned_at: Time,
}

impl<'a> EventData<'a> for WarningData<'a> {
    type Of = QuotaWarning;

    fn time(&self) -> Time {
        self.warned_at
    }
}

#[derive(Deserialize, Serialize)]
pub struct NoticeData<'a> {
    pub entity_id: &'a str,
    pub revision: i32,
    pub tenant_id: &'a str,
    pub kind: &'a str,
    pub severity: &'a str,
    pub title: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: Attributes<'a>,
    pub noticed_at: Time,
}

impl<'a> EventData<'a> for NoticeData<'a> {
    type Of = Notice;

    fn time(&self) -> Time {
        self.noticed_at
    }
}
