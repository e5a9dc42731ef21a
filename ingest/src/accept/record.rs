//! The records of fixes and of sessions, encoded where they will be sent from.

use laneway_log::{Records, Topic};
use laneway_schemas::{Codecs, LocationUpdate, SessionAction, SessionEvent};
use laneway_tenancy::Authenticated;
use serde::Serialize;

use super::Refused;
use crate::wire::Attributes;

/// [`LocationUpdate`], borrowed: the same fields in the same order.
#[derive(Serialize)]
pub struct LocationUpdateRef<'a> {
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
    pub attributes: &'a Attributes<'a>,
    pub control_version: i64,
}

/// [`SessionEvent`], borrowed.
#[derive(Serialize)]
pub struct SessionEventRef<'a> {
    pub tenant_id: &'a str,
    pub device_id: &'a str,
    pub session_id: &'a str,
    pub action: SessionAction,
    pub at: i64,
    pub received_at: i64,
    pub attributes: &'a Attributes<'a>,
    pub control_version: i64,
}

/// Where a device's records go: kept from one item of a batch to the next.
pub struct Place {
    /// `tenant id/device id`
    key: Vec<u8>,
    lane: u32,
    device_at: usize,
}

impl Place {
    pub fn of(who: &Authenticated, device: &str) -> Self {
        let mut key = Vec::with_capacity(96);
        who.scope.record_key(device, &mut key);
        let device_at = key.len() - device.len();
        Place {
            lane: who.tenant.body.placement.lane(device),
            key,
            device_at,
        }
    }

    pub fn is_of(&self, device: &str) -> bool {
        &self.key[self.device_at..] == device.as_bytes()
    }

    pub fn tenant(&self) -> &str {
        std::str::from_utf8(&self.key[..self.device_at - 1]).unwrap_or_default()
    }
}

/// Encodes straight into the buffer of `records`.
pub struct Encoder<'a> {
    pub codecs: &'a Codecs,
    pub received_at: i64,
}

impl Encoder<'_> {
    pub fn update(
        &self,
        records: &mut Records,
        place: &Place,
        update: &LocationUpdateRef<'_>,
    ) -> Result<(), Refused> {
        self.push(records, Topic::LocationUpdates, place, |out| {
            self.codecs.encode_as::<LocationUpdate, _>(update, out)
        })
    }

    pub fn session(
        &self,
        records: &mut Records,
        place: &Place,
        event: &SessionEventRef<'_>,
    ) -> Result<(), Refused> {
        self.push(records, Topic::SessionEvents, place, |out| {
            self.codecs.encode_as::<SessionEvent, _>(event, out)
        })
    }

    fn push<E: std::fmt::Display>(
        &self,
        records: &mut Records,
        topic: Topic,
        place: &Place,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refused> {
        let mut encoded = Ok(());
        records.push_with(
            topic,
            place.lane,
            self.received_at / 1000,
            &place.key,
            [],
            |out| encoded = encode(out),
        );
        encoded.map_err(|error| {
            tracing::error!(%error, %topic, "a record could not be encoded");
            Refused::Encoding(error.to_string())
        })
    }
}
