//! The `data` of each event type: the contract's fields under their own names, times as
//! RFC 3339, absent fields left out.

use laneway_schemas::{
    Attributes, Position, SessionStarted, SessionStopped, SessionUpdated, Window,
};
use serde::Serialize;

use super::time::Time;

/// An event's payload as it goes out.
pub trait EventData {
    /// Event time, in microseconds since 1970: the CloudEvents `time`.
    fn time(&self) -> i64;
    fn data(&self) -> impl Serialize;
}

macro_rules! event_data {
    (
        $type:ident at $time:expr;
        $($plain:ident: $plain_type:ty,)*;
        times $($at:ident,)*;
        optional $($optional:ident: $optional_type:ty,)*;
        optional times $($optional_at:ident,)*;
        attributes $($attributes:ident)?
    ) => {
        impl EventData for $type {
            fn time(&self) -> i64 {
                let read: fn(&$type) -> i64 = $time;
                read(self)
            }

            fn data(&self) -> impl Serialize {
                #[derive(Serialize)]
                struct Data<'a> {
                    entity_id: &'a str,
                    revision: i32,
                    tenant_id: &'a str,
                    device_id: &'a str,
                    $($at: Time,)*
                    $(#[serde(skip_serializing_if = "Option::is_none")] $optional_at: Option<Time>,)*
                    $($plain: &'a $plain_type,)*
                    $(#[serde(skip_serializing_if = "Option::is_none")] $optional: &'a Option<$optional_type>,)*
                    $(#[serde(skip_serializing_if = "Attributes::is_empty")] $attributes: &'a Attributes,)?
                }
                Data {
                    entity_id: &self.entity_id,
                    revision: self.revision,
                    tenant_id: &self.tenant_id,
                    device_id: &self.device_id,
                    $($at: Time(self.$at),)*
                    $($optional_at: self.$optional_at.map(Time),)*
                    $($plain: &self.$plain,)*
                    $($optional: &self.$optional,)*
                    $($attributes: &self.$attributes,)?
                }
            }
        }
    };
}

event_data! {
    Position at |e| e.recorded_at;
    fix_id: String, latitude: f64, longitude: f64, latest: bool, late: bool, ahead: bool,;
    times recorded_at, received_at,;
    optional session_id: String, altitude_m: f64, accuracy_m: f64, speed_mps: f64, heading_deg: f64, battery: f64,;
    optional times;
    attributes attributes
}

event_data! {
    SessionStarted at |e| e.started_at;
    session_id: String,;
    times started_at, received_at,;
    optional;
    optional times;
    attributes attributes
}

event_data! {
    SessionUpdated at |e| e.last_fix_at;
    session_id: String, fixes: i64, distance_m: f64, duration_s: f64,;
    times last_fix_at,;
    optional;
    optional times started_at,;
    attributes
}

event_data! {
    SessionStopped at |e| e.stopped_at;
    session_id: String, fixes: i64, distance_m: f64, duration_s: f64,;
    times stopped_at,;
    optional;
    optional times started_at,;
    attributes attributes
}

event_data! {
    Window at |e| e.window_end;
    fixes: i64, distance_m: f64,;
    times window_start, window_end,;
    optional max_speed_mps: f64,;
    optional times;
    attributes
}
