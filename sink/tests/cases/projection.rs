//! The projection into the store.

use laneway_log::{Records, Topic};
use laneway_store::{NewTenant, ProjectionBatch, Store};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, OperatorScope};
use laneway_testkit::wait;

use crate::rig::{BOUND, Rig, Tenant, position};

async fn stored(store: &Store, tenant: &Tenant) {
    let operator = OperatorScope::of_role(&RoleAuthority::for_role("test"));
    let new = NewTenant::plain(tenant.id, "tenant-1", tenant.placement.clone());
    store.tenants(&operator).create(new, 1).await.unwrap();
}

async fn projected(store: &Store, to: u64) {
    let authority = RoleAuthority::for_role("test");
    wait::until("the projection", BOUND, || async {
        store
            .projected(&authority, 1, 0)
            .await
            .unwrap()
            .is_some_and(|at| at >= to)
    })
    .await
    .unwrap();
}

async fn latest(store: &Store, tenant: &Tenant, device: &str) -> serde_json::Value {
    let device: DeviceId = device.parse().unwrap();
    let found = store
        .positions(&tenant.scope)
        .latest(&device)
        .await
        .unwrap()
        .unwrap();
    serde_json::from_str(&found.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_position_is_the_latest_by_event_time_and_never_one_ahead() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let store = rig.store().await;
    stored(&store, &tenant).await;
    rig.sink(|_| {}).await;
    let mut records = Records::new();
    for number in [5, 9, 7] {
        rig.push(&mut records, &tenant, &position(&tenant, "a", number));
    }
    let mut ahead = position(&tenant, "a", 100);
    ahead.ahead = true;
    rig.push(&mut records, &tenant, &ahead);
    rig.log.append(records).await.unwrap();
    projected(&store, 4).await;
    assert_eq!(latest(&store, &tenant, "a").await["fix_id"], "00000009");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_is_noticed_and_the_projection_goes_on_from_where_the_store_is() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let store = rig.store().await;
    stored(&store, &tenant).await;
    rig.sink(|_| {}).await;
    rig.append(&tenant, "a", 0..3).await;
    projected(&store, 3).await;
    // Somebody else projects the next two.
    rig.append(&tenant, "b", 3..5).await;
    projected(&store, 5).await;
    let authority = RoleAuthority::for_role("test");
    let back = ProjectionBatch {
        generation: 1,
        partition: 0,
        from_offset: 5,
        to_offset: 3,
        ..Default::default()
    };
    store.project(&authority, back).await.unwrap();
    rig.append(&tenant, "c", 5..8).await;
    projected(&store, 8).await;
    for (device, fix) in [("a", "00000002"), ("b", "00000004"), ("c", "00000007")] {
        assert_eq!(latest(&store, &tenant, device).await["fix_id"], fix);
    }
    let end = rig.log.bounds(Topic::TenantStreams, 0).await.unwrap().end;
    assert_eq!(store.projected(&authority, 1, 0).await.unwrap(), Some(end));
}
