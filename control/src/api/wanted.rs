//! What a subscription wants of a tenant's events, as requests say it.

use laneway_schemas::EventType;
use laneway_tenancy::DeviceId;

use crate::error::{ApiError, ApiResult};

const MAX_DEVICES: usize = 1000;

/// Event types that there are, and what can be devices.
pub(crate) fn check(event_types: &[String], devices: &[String]) -> ApiResult<()> {
    let unknown = event_types
        .iter()
        .find(|name| EventType::parse(name).is_none());
    if let Some(unknown) = unknown {
        return Err(ApiError::invalid(format!(
            "event_types: {unknown:?} is none; there are {}.",
            known_types()
        )));
    }
    if devices.len() > MAX_DEVICES {
        return Err(ApiError::invalid(format!(
            "devices: at most {MAX_DEVICES}; leave it out for all."
        )));
    }
    if let Some(bad) = devices.iter().find(|id| !DeviceId::is_valid(id)) {
        return Err(ApiError::invalid(format!(
            "devices: {bad:?} cannot be a device's id."
        )));
    }
    Ok(())
}

pub(crate) fn known_types() -> String {
    let known: Vec<&str> = EventType::ALL.into_iter().map(EventType::name).collect();
    known.join(", ")
}
