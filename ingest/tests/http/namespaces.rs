//! A tenant's keys send in its namespaces, by the names of these; its devices do not.

use http::StatusCode;
use laneway_log::Topic;
use laneway_schemas::LocationUpdate;
use laneway_store::NewTenant;
use laneway_tenancy::control::{Limits, TenantKind};
use laneway_tenancy::{Grant, Placement, TenantId};
use serde_json::json;

use crate::rig::{NOW, PARTITIONS, Rig};

#[tokio::test]
async fn a_tenants_key_sends_in_its_namespace_and_a_device_of_the_tenant_does_not() {
    let rig = Rig::start().await;
    let acme = rig.tenant("acme", Limits::default()).await;
    let other = rig.tenant("other", Limits::default()).await;
    let id = TenantId::from_u128(rig.id());
    let new = NewTenant {
        kind: TenantKind::Namespace,
        ..NewTenant::plain(id, "acme--fleet", Placement::first(id, 2, PARTITIONS))
    };
    let family = rig.store.family(&acme);
    family.create(new, NOW).await.unwrap();
    let fleet = laneway_tenancy::control::RoleAuthority::for_role("test").scope(id);
    let within = rig.device(&fleet, "truck").await;
    // So that the tenant is at a higher version than its namespace: it must not be waited for.
    let device = rig.device(&acme, "truck").await;
    for _ in 0..10 {
        rig.key(&acme, &[Grant::StreamRead]).await;
    }
    let key = rig.key(&acme, &[Grant::LocationWrite]).await;
    let foreign = rig.key(&other, &[Grant::LocationWrite]).await;
    let fix = json!({"device_id": "truck", "recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    let path = "/t/acme--fleet/location/update";
    // Once to be in the cache, and once more from it.
    for _ in 0..2 {
        let sent = rig.post(&key, path, fix.to_string()).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.json);
    }
    let unknown = json!({"device_id": "van", "recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    let refused = rig.post(&key, path, unknown.to_string()).await;
    assert_ne!(refused.status, StatusCode::OK);
    for sender in [&device, &foreign] {
        let refused = rig.post(sender, path, fix.to_string()).await;
        let found = (refused.status, refused.kind());
        assert_eq!(found, (StatusCode::FORBIDDEN, "tenant-mismatch"));
    }
    let own = rig.post(&within, path, fix.to_string()).await;
    assert_eq!(own.status, StatusCode::OK, "{}", own.json);
    let records = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    assert!(!records.is_empty());
    for (_, key, update) in records {
        assert_eq!(key, format!("{id}/truck"));
        assert_eq!(update.tenant_id, id.to_string());
        assert!(update.control_version <= rig.directory.version(id));
    }
}
