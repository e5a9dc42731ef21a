//! Records to rows.

use laneway_log::RecordRef;
use laneway_schemas::{
    Attributes, Codecs, DecodeError, EventType, Position, RegistryError, SessionStarted,
    SessionStopped, SessionUpdated,
};
use laneway_store::{PositionRow, ProjectionBatch, SessionRow, SessionState};
use laneway_tenancy::{DeviceId, SessionId, TenantId};

use crate::event::{Facts, PositionData};

/// Adds what a record says to a batch. A record that cannot be read is passed over, and said.
pub async fn add(
    codecs: &Codecs,
    record: &RecordRef<'_>,
    batch: &mut ProjectionBatch,
) -> Result<(), RegistryError> {
    let (Some(facts), Some(value)) = (Facts::of(record), record.value) else {
        return Ok(());
    };
    let result = row(codecs, facts.event_type, value, batch).await;
    match result {
        Ok(()) => Ok(()),
        Err(DecodeError::Registry(error @ RegistryError::Unavailable { .. })) => Err(error),
        Err(error) => {
            metrics::counter!("laneway_sink_undecodable_total").increment(1);
            tracing::error!(offset = record.offset, id = facts.id, %error, "an event cannot be projected; it is passed over");
            Ok(())
        }
    }
}

async fn row(
    codecs: &Codecs,
    event_type: EventType,
    value: &[u8],
    batch: &mut ProjectionBatch,
) -> Result<(), DecodeError> {
    match event_type {
        EventType::Position => {
            let event = codecs
                .decode_as_loading::<Position, PositionData<'_>>(value)
                .await?;
            // One ahead of its time is never the latest.
            if !event.ahead {
                batch.positions.extend(position(&event));
            }
        }
        EventType::SessionStarted => {
            let event: SessionStarted = codecs.decode_loading(value).await?;
            batch.sessions.extend(started(&event));
        }
        EventType::SessionUpdated => {
            let event: SessionUpdated = codecs.decode_loading(value).await?;
            batch.sessions.extend(updated(&event));
        }
        EventType::SessionStopped => {
            let event: SessionStopped = codecs.decode_loading(value).await?;
            batch.sessions.extend(stopped(&event));
        }
        EventType::Window | EventType::QuotaWarning | EventType::Notice => {}
    }
    Ok(())
}

fn ids(tenant: &str, device: &str) -> Option<(TenantId, DeviceId)> {
    Some((tenant.parse().ok()?, device.parse().ok()?))
}

fn position(event: &PositionData<'_>) -> Option<PositionRow> {
    let (tenant, device) = ids(event.tenant_id, event.device_id)?;
    Some(PositionRow {
        tenant,
        device,
        recorded_at: event.recorded_at.0,
        received_at: event.received_at.0,
        fix_id: event.fix_id.to_owned(),
        revision: i64::from(event.revision),
        body: serde_json::to_string(event).ok()?,
    })
}

fn started(event: &SessionStarted) -> Option<SessionRow> {
    let (tenant, device) = ids(&event.tenant_id, &event.device_id)?;
    Some(SessionRow {
        tenant,
        device,
        session: event.session_id.parse::<SessionId>().ok()?,
        state: SessionState::Started,
        revision: i64::from(event.revision),
        started_at: Some(event.started_at),
        stopped_at: None,
        last_fix_at: None,
        fixes: 0,
        distance_m: 0.0,
        duration_s: 0.0,
        attributes: attributes(&event.attributes),
    })
}

fn updated(event: &SessionUpdated) -> Option<SessionRow> {
    let (tenant, device) = ids(&event.tenant_id, &event.device_id)?;
    Some(SessionRow {
        tenant,
        device,
        session: event.session_id.parse::<SessionId>().ok()?,
        state: SessionState::Updated,
        revision: i64::from(event.revision),
        started_at: event.started_at,
        stopped_at: None,
        last_fix_at: Some(event.last_fix_at),
        fixes: event.fixes,
        distance_m: event.distance_m,
        duration_s: event.duration_s,
        attributes: None,
    })
}

fn stopped(event: &SessionStopped) -> Option<SessionRow> {
    let (tenant, device) = ids(&event.tenant_id, &event.device_id)?;
    Some(SessionRow {
        tenant,
        device,
        session: event.session_id.parse::<SessionId>().ok()?,
        state: SessionState::Stopped,
        revision: i64::from(event.revision),
        started_at: event.started_at,
        stopped_at: Some(event.stopped_at),
        last_fix_at: None,
        fixes: event.fixes,
        distance_m: event.distance_m,
        duration_s: event.duration_s,
        attributes: attributes(&event.attributes),
    })
}

/// What is not said keeps what was said before.
fn attributes(attributes: &Attributes) -> Option<String> {
    if attributes.is_empty() {
        None
    } else {
        serde_json::to_string(attributes).ok()
    }
}
