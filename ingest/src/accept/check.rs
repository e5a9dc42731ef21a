//! What a fix must be, however it came.

use std::borrow::Cow;

use laneway_tenancy::{DeviceId, SessionId};

use crate::refusal::{Kind, Refusal, shown};
use crate::wire::{Attributes, Fix};

/// A fix that has all it needs, within range. Its device is checked apart.
#[derive(Debug, PartialEq)]
pub struct Valid<'a> {
    pub id: Option<Cow<'a, str>>,
    pub session: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    pub recorded_at: i64,
    pub latitude: f64,
    pub longitude: f64,
    pub altitude: Option<f64>,
    pub accuracy: Option<f64>,
    pub speed: Option<f64>,
    pub heading: Option<f64>,
    pub battery: Option<f64>,
    pub attributes: Attributes<'a>,
}

/// Ids of fixes follow the rule of device ids.
const FIX_ID_MAX: usize = DeviceId::MAX;

impl<'a> Valid<'a> {
    pub fn check(fix: Fix<'a>) -> Result<Self, Refusal> {
        if let Some(id) = fix.id.as_deref() {
            check_id("id", id, FIX_ID_MAX, DeviceId::is_valid)?;
        }
        if let Some(session) = fix.session.as_deref() {
            check_id("session_id", session, SessionId::MAX, SessionId::is_valid)?;
        }
        Ok(Valid {
            recorded_at: fix.recorded_at.ok_or_else(|| missing("recorded_at"))?,
            latitude: within("lat", fix.latitude, -90.0, 90.0)?.ok_or_else(|| missing("lat"))?,
            longitude: within("lon", fix.longitude, -180.0, 180.0)?
                .ok_or_else(|| missing("lon"))?,
            altitude: within("altitude", fix.altitude, -1e7, 1e7)?,
            accuracy: within("accuracy", fix.accuracy, 0.0, 1e8)?,
            speed: within("speed", fix.speed, 0.0, 1e5)?,
            heading: within("heading", fix.heading, 0.0, 360.0)?,
            battery: within("battery", fix.battery, 0.0, 1.0)?,
            id: fix.id,
            session: fix.session,
            attributes: fix.attributes,
        })
    }
}

fn missing(field: &str) -> Refusal {
    Refusal::new(
        Kind::MissingField,
        format!("`{field}` is missing; every fix needs `recorded_at`, `lat` and `lon`."),
    )
}

fn within(field: &str, value: Option<f64>, min: f64, max: f64) -> Result<Option<f64>, Refusal> {
    match value {
        // Also refuses what is not a number.
        Some(value) if !(min..=max).contains(&value) => Err(Refusal::new(
            Kind::OutOfRange,
            format!("`{field}` is {value}; it must be from {min} to {max}."),
        )),
        value => Ok(value),
    }
}

pub fn check_id(
    field: &str,
    id: &str,
    max: usize,
    valid: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    if valid(id) {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::InvalidId,
        format!(
            "`{field}` is `{}`; it must have 1 to {max} of A–Z a–z 0–9 . _ : - and begin with a letter or a digit.",
            shown(id)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Batch;

    proptest::proptest! {
        #[test]
        fn what_is_accepted_is_finite_and_in_range(lat: f64, lon: f64, heading: f64, battery: f64, speed: f64) {
            let fix = Fix {
                recorded_at: Some(1), latitude: Some(lat), longitude: Some(lon), heading: Some(heading),
                battery: Some(battery), speed: Some(speed), ..Fix::default()
            };
            if let Ok(valid) = Valid::check(fix) {
                proptest::prop_assert!(valid.latitude.abs() <= 90.0 && valid.longitude.abs() <= 180.0);
                proptest::prop_assert!(valid.heading.is_some_and(|h| (0.0..=360.0).contains(&h)));
                proptest::prop_assert!(valid.battery.is_some_and(|b| (0.0..=1.0).contains(&b)));
                proptest::prop_assert!(valid.speed.is_some_and(|s| s.is_finite() && s >= 0.0));
            }
        }

        #[test]
        fn any_body_is_read_or_refused(body: Vec<u8>) {
            let _ = Batch::parse(&body, 10);
        }

        #[test]
        fn any_nearly_right_body_is_read_or_refused(
            body in r#"(\{|\[)?("lat"|"lon"|"id"|"fixes"|"attributes"|:|,|\[|\]|\{|\}|-?[0-9]{1,4}|1e999|null|true|"\\u00[0-9a-f]{2}"| ){0,30}(\}|\])?"#
        ) {
            if let Ok(batch) = Batch::parse(body.as_bytes(), 10) {
                for item in batch.items {
                    if item.refusal.is_none() && let Ok(valid) = Valid::check(item.fix) {
                        proptest::prop_assert!(valid.latitude.is_finite() && valid.longitude.is_finite());
                    }
                }
            }
        }
    }
}
