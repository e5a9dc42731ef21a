//! Keys of `tenant-events`: of the records with one key, compaction keeps the last.

use laneway_schemas::{ControlKind, TenantEvent};
use laneway_tenancy::control::DeviceBody;

/// `tenant/kind/id`. A device's has the version that registered it besides: each of its lives
/// keeps a record of its own, by which what was accepted during it is judged.
pub fn record_key(event: &TenantEvent) -> serde_json::Result<String> {
    let kind = match event.kind {
        ControlKind::Tenant => "tenant",
        ControlKind::Device => "device",
        ControlKind::Credential => "credential",
        ControlKind::Key => "key",
        ControlKind::Destination => "destination",
        ControlKind::Host => "host",
        ControlKind::Grant => "grant",
        ControlKind::Other => "other",
    };
    let mut key = format!("{}/{kind}/{}", event.tenant_id, event.id);
    if event.kind == ControlKind::Device {
        let DeviceBody { since, .. } = serde_json::from_str(&event.body)?;
        key.push_str(&format!("/{since}"));
    }
    Ok(key)
}
