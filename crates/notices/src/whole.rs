//! Events of a tenant as a whole, as records of its stream.

use laneway_directory::TenantEntry;
use laneway_log::{Records, Topic};
use laneway_schemas::{Codecs, Contract, EncodeError, EventType, Rfc3339};
use laneway_tenancy::TenantScope;

/// What stands in the place of a device in the key of what is about the tenant as a whole. No
/// device has that id.
pub const WHOLE_TENANT: &str = "~";

/// An event that is said once: its revision is always 1.
pub struct WholeTenantEvent<'a> {
    /// Of the tenant whose stream it goes to.
    pub scope: &'a TenantScope,
    pub event_type: EventType,
    pub entity_id: &'a str,
    /// The CloudEvents `source`.
    pub source: &'a str,
    /// Event time, in microseconds.
    pub at: i64,
}

impl WholeTenantEvent<'_> {
    /// The lane that such events of a tenant go to.
    pub fn lane(tenant: &TenantEntry) -> u32 {
        tenant.body.placement.lane(WHOLE_TENANT)
    }

    /// What receivers remember of it.
    pub fn id(&self) -> String {
        format!("{}.1", self.entity_id)
    }

    pub fn record<T: Contract>(
        &self,
        codecs: &Codecs,
        lane: u32,
        event: &T,
    ) -> Result<Records, EncodeError> {
        let mut value = Vec::new();
        codecs.encode(event, &mut value)?;
        let mut key = Vec::new();
        self.scope.record_key(WHOLE_TENANT, &mut key);
        let (id, time) = (self.id(), Rfc3339::of(self.at));
        let headers: [(&str, &[u8]); 6] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.as_bytes()),
            ("ce_type", self.event_type.name().as_bytes()),
            ("ce_source", self.source.as_bytes()),
            ("ce_time", time.as_bytes()),
            ("content-type", b"application/avro"),
        ];
        let mut records = Records::new();
        let timestamp_ms = self.at.div_euclid(1000);
        let topic = Topic::TenantStreams;
        records.push(topic, lane, timestamp_ms, &key, headers, &value);
        Ok(records)
    }
}
