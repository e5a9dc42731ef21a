//! Derived events as records of `tenant-streams`.

use laneway_log::{Records, Topic};
use laneway_schemas::{
    Attributes, Codecs, Contract, EncodeError, EventType, Position, Rfc3339, SessionStarted,
    SessionStopped, SessionUpdated, Window,
};
use serde::Serialize;

use crate::derive::{Derived, EntityId, IdHasher, MINUTE_US, Session};
use crate::event_id::EventId;
use crate::tenants::Tenant;
use crate::views::{FixView, PositionView, StartedView, StoppedView, UpdatedView, WindowView};

/// Writes events with buffers that are kept.
#[derive(Default)]
pub struct Emitter {
    ids: IdHasher,
    key: Vec<u8>,
    source: String,
    tenant: String,
    device: String,
    partition: u32,
    timestamp_ms: i64,
    failure: Option<EncodeError>,
    /// Events by type, since they were taken last.
    pub counts: [u64; EventType::ALL.len()],
}

/// A start, to be said.
pub struct Started<'a> {
    pub session: &'a str,
    pub at: i64,
    pub received_at: i64,
    pub attributes: &'a Attributes,
}

impl Emitter {
    /// Whose events follow, where they go, and when their cause was received (µs).
    pub fn aim(&mut self, tenant: &Tenant, device: &str, partition: u32, cause_us: i64) {
        self.partition = partition;
        self.timestamp_ms = cause_us / 1000;
        if self.device == device && *self.tenant == *tenant.text {
            return;
        }
        self.tenant.clear();
        self.tenant.push_str(&tenant.text);
        self.device.clear();
        self.device.push_str(device);
        self.key.clear();
        tenant.scope.record_key(device, &mut self.key);
        self.source.clear();
        for part in ["/tenants/", &*tenant.text, "/devices/", device] {
            self.source.push_str(part);
        }
    }

    /// The key of the records of the device it is aimed at.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The first event that did not fit its schema, if any. It must stop the unit.
    pub fn take_failure(&mut self) -> Result<(), EncodeError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    pub fn position(
        &mut self,
        fix: &FixView<'_>,
        flags: [bool; 3],
        codecs: &Codecs,
        records: &mut Records,
    ) {
        let entity = self.entity("position", fix.fix_id.as_bytes());
        let [latest, late, ahead] = flags;
        let view = PositionView {
            entity_id: entity.as_str(),
            revision: 1,
            tenant_id: fix.tenant_id,
            device_id: fix.device_id,
            fix_id: fix.fix_id,
            session_id: fix.session_id,
            recorded_at: fix.recorded_at,
            received_at: fix.received_at,
            latitude: fix.latitude,
            longitude: fix.longitude,
            altitude_m: fix.altitude_m,
            accuracy_m: fix.accuracy_m,
            speed_mps: fix.speed_mps,
            heading_deg: fix.heading_deg,
            battery: fix.battery,
            attributes: &fix.attributes,
            latest,
            late,
            ahead,
        };
        let id = EventId::new(&entity, 1);
        self.push::<Position, _>(
            EventType::Position,
            &id,
            fix.recorded_at,
            &view,
            codecs,
            records,
        );
    }

    pub fn started(&mut self, started: &Started<'_>, codecs: &Codecs, records: &mut Records) {
        let entity = self.entity("session.started", started.session.as_bytes());
        let view = StartedView {
            entity_id: entity.as_str(),
            revision: 1,
            tenant_id: &self.tenant.clone(),
            device_id: &self.device.clone(),
            session_id: started.session,
            started_at: started.at,
            received_at: started.received_at,
            attributes: started.attributes,
        };
        let id = EventId::new(&entity, 1);
        self.push::<SessionStarted, _>(
            EventType::SessionStarted,
            &id,
            started.at,
            &view,
            codecs,
            records,
        );
    }

    pub fn derived(&mut self, derived: &Derived<'_>, codecs: &Codecs, records: &mut Records) {
        // Taken out for the views to borrow; put back below.
        let tenant = std::mem::take(&mut self.tenant);
        let device = std::mem::take(&mut self.device);
        match derived {
            Derived::Window { start, value } => {
                let entity = self
                    .ids
                    .entity(&tenant, &device, "window", &start.to_le_bytes());
                let id = EventId::new(&entity, value.revision);
                let end = start.saturating_add(MINUTE_US);
                let view = WindowView {
                    entity_id: entity.as_str(),
                    revision: id.revision(),
                    tenant_id: &tenant,
                    device_id: &device,
                    window_start: *start,
                    window_end: end,
                    fixes: count(value.fixes),
                    distance_m: value.distance_m,
                    max_speed_mps: value.max_speed_mps,
                };
                self.push::<Window, _>(EventType::Window, &id, end, &view, codecs, records);
            }
            Derived::Updated { session } => {
                let (entity, id) = self.session_ids(&tenant, &device, session);
                let view = UpdatedView {
                    entity_id: entity.as_str(),
                    revision: id.revision(),
                    tenant_id: &tenant,
                    device_id: &device,
                    session_id: &session.id,
                    started_at: session.started_at,
                    last_fix_at: session.totals.last_at,
                    fixes: count(session.totals.fixes),
                    distance_m: session.totals.distance_m,
                    duration_s: session.duration_s(),
                };
                let at = session.totals.last_at;
                self.push::<SessionUpdated, _>(
                    EventType::SessionUpdated,
                    &id,
                    at,
                    &view,
                    codecs,
                    records,
                );
            }
            Derived::Stopped {
                session,
                stopped_at,
            } => {
                let (entity, id) = self.session_ids(&tenant, &device, session);
                let view = StoppedView {
                    entity_id: entity.as_str(),
                    revision: id.revision(),
                    tenant_id: &tenant,
                    device_id: &device,
                    session_id: &session.id,
                    started_at: session.started_at,
                    stopped_at: *stopped_at,
                    attributes: &session.stop_attributes,
                    fixes: count(session.totals.fixes),
                    distance_m: session.totals.distance_m,
                    duration_s: session.duration_s(),
                };
                self.push::<SessionStopped, _>(
                    EventType::SessionStopped,
                    &id,
                    *stopped_at,
                    &view,
                    codecs,
                    records,
                );
            }
        }
        self.tenant = tenant;
        self.device = device;
    }

    fn entity(&mut self, kind: &str, opener: &[u8]) -> EntityId {
        self.ids.entity(&self.tenant, &self.device, kind, opener)
    }

    fn session_ids(
        &mut self,
        tenant: &str,
        device: &str,
        session: &Session,
    ) -> (EntityId, EventId) {
        let entity = self
            .ids
            .entity(tenant, device, "session", session.id.as_bytes());
        (entity, EventId::new(&entity, session.revision))
    }

    fn push<T: Contract, V: Serialize>(
        &mut self,
        kind: EventType,
        id: &EventId,
        at: i64,
        view: &V,
        codecs: &Codecs,
        records: &mut Records,
    ) {
        let time = Rfc3339::of(at);
        let headers: [(&str, &[u8]); 6] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.as_bytes()),
            ("ce_type", kind.name().as_bytes()),
            ("ce_source", self.source.as_bytes()),
            ("ce_time", time.as_bytes()),
            ("content-type", b"application/avro"),
        ];
        let failure = &mut self.failure;
        let topic = Topic::TenantStreams;
        records.push_with(
            topic,
            self.partition,
            self.timestamp_ms,
            &self.key,
            headers,
            |out| {
                if let Err(error) = codecs.encode_as::<T, V>(view, out) {
                    failure.get_or_insert(error);
                }
            },
        );
        self.counts[kind as usize] += 1;
    }
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
