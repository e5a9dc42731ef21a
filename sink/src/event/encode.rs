//! One record to one CloudEvent (v1.0.2, JSON event format).

use std::time::Duration;

use laneway_schemas::{Codecs, DecodeError, EventType, RegistryError};

use super::Facts;
use super::data::{
    EventData, NoticeData, PositionData, StartedData, StoppedData, UpdatedData, WarningData,
    WindowData,
};

const RETRY: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("an event cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the record of an event has no value")]
    Tombstone,
}

impl EncodeError {
    /// The schema to load before the record can be encoded.
    fn missing_schema(&self) -> Option<u32> {
        match self {
            EncodeError::Decode(DecodeError::UnknownSchema(id)) => Some(*id),
            _ => None,
        }
    }
}

/// Whether to encode a record again that could not be: its schema was not there, and may be now.
/// One that cannot be read is said, and to be passed over: holding the lane back would take every
/// other tenant's events with it.
pub async fn try_again(
    codecs: &Codecs,
    facts: &Facts<'_>,
    offset: u64,
    error: &EncodeError,
) -> bool {
    if let Some(schema) = error.missing_schema() {
        match codecs.load(schema).await {
            Ok(()) => return true,
            Err(reason @ RegistryError::Unavailable { .. }) => {
                tracing::warn!(schema, %reason, "a schema cannot be loaded; trying again");
                tokio::time::sleep(RETRY).await;
                return true;
            }
            Err(_) => {}
        }
    }
    metrics::counter!("laneway_sink_undecodable_total").increment(1);
    tracing::error!(tenant = ?facts.tenant, offset, id = facts.id, %error, "an event cannot be encoded; it is passed over");
    false
}

/// Appends the event to `out`, and says where in it the device's name is. Leaves `out` as it
/// was where it fails.
pub fn encode_event(
    codecs: &Codecs,
    facts: &Facts<'_>,
    value: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(u32, u32), EncodeError> {
    let value = value.ok_or(EncodeError::Tombstone)?;
    let start = out.len();
    let result = match facts.event_type {
        EventType::Position => write::<PositionData<'_>>(codecs, facts, value, out),
        EventType::SessionStarted => write::<StartedData<'_>>(codecs, facts, value, out),
        EventType::SessionUpdated => write::<UpdatedData<'_>>(codecs, facts, value, out),
        EventType::SessionStopped => write::<StoppedData<'_>>(codecs, facts, value, out),
        EventType::Window => write::<WindowData<'_>>(codecs, facts, value, out),
        EventType::QuotaWarning => write::<WarningData<'_>>(codecs, facts, value, out),
        EventType::Notice => write::<NoticeData<'_>>(codecs, facts, value, out),
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn write<'a, T: EventData<'a>>(
    codecs: &Codecs,
    facts: &Facts<'_>,
    value: &'a [u8],
    out: &mut Vec<u8>,
) -> Result<(u32, u32), EncodeError> {
    let event: T = codecs.decode_as::<T::Of, T>(value)?;
    let tenant = facts.tenant.as_str().as_bytes();
    out.extend_from_slice(br#"{"specversion":"1.0","id":"#);
    serde_json::to_writer(&mut *out, facts.id)?;
    out.extend_from_slice(br#","type":""#);
    out.extend_from_slice(facts.event_type.name().as_bytes());
    out.extend_from_slice(br#"","source":"#);
    serde_json::to_writer(&mut *out, facts.source)?;
    out.extend_from_slice(br#","time":"#);
    match facts.time {
        Some(time) => serde_json::to_writer(&mut *out, time)?,
        None => serde_json::to_writer(&mut *out, &event.time())?,
    }
    out.extend_from_slice(br#","subject":"#);
    let device_at = out.len() + 1;
    serde_json::to_writer(&mut *out, facts.device)?;
    let device = (position(device_at), position(out.len() - 1));
    out.extend_from_slice(br#","datacontenttype":"application/json","tenantid":""#);
    out.extend_from_slice(tenant);
    out.extend_from_slice(br#"","data":"#);
    serde_json::to_writer(&mut *out, &event)?;
    out.push(b'}');
    Ok(device)
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("a batch is far below 4 GiB")
}
