//! The projection into the store.

use laneway_log::{Records, Topic};
use laneway_runtime::Lifecycle;
use laneway_store::{MAIN, NewTenant, ProjectionBatch, Store};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, OperatorScope};
use laneway_testkit::wait;
use sqlx::Executor;

use crate::rig::{BOUND, Rig, Tenant, position};

async fn stored(store: &Store, tenant: &Tenant) {
    stored_in(store, tenant, "tenant-1", MAIN).await;
}

async fn stored_in(store: &Store, tenant: &Tenant, slug: &str, database: &str) {
    let operator = OperatorScope::of_role(&RoleAuthority::for_role("test"));
    let new = NewTenant {
        database: Some(database.to_owned()),
        ..NewTenant::plain(tenant.id, slug, tenant.placement.clone())
    };
    store.tenants(&operator).create(new, 1).await.unwrap();
}

async fn projected(store: &Store, to: u64) {
    let authority = RoleAuthority::for_role("test");
    wait::until("the projection", BOUND, || async {
        store
            .projected(&authority, 1, 0)
            .await
            .unwrap()
            .least()
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
    let found = store.projected(&authority, 1, 0).await.unwrap();
    assert_eq!(found.least(), Some(end));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_store_lacks_is_projected_beside_what_comes() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let store = rig.store().await;
    stored(&store, &tenant).await;
    let devices: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    let life = Lifecycle::new();
    rig.sink_as("sink-1", &life, |_| {}).await;
    for device in &devices[..10] {
        rig.append(&tenant, device, [1]).await;
    }
    known(&store, &tenant, &devices[..10]).await;
    life.drain();
    life.run(BOUND).await.unwrap();
    let committed = rig.log.committed("projection", Topic::TenantStreams).await;
    assert_eq!(committed.unwrap(), [Some(10)]);
    let mut database = rig.database("store").await;
    for lost in [
        "DELETE FROM latest_positions",
        "UPDATE projection_positions SET next_offset = 0",
    ] {
        database.execute(lost).await.unwrap();
    }
    rig.sink(|settings| settings.projection.batch_records = 3)
        .await;
    for device in &devices[10..] {
        rig.append(&tenant, device, [1]).await;
    }
    known(&store, &tenant, &devices).await;
    projected(&store, 20).await;
}

/// The tenant of that number or the next one whose only lane is this one.
async fn tenant_of_lane(rig: &Rig, mut number: u128, lane: u32) -> Tenant {
    loop {
        let tenant = rig.tenant(number, 1).await;
        if tenant.placement.lanes == [lane] {
            return tenant;
        }
        number += 1;
    }
}

/// Until the latest positions of these devices are there.
async fn known(store: &Store, tenant: &Tenant, devices: &[String]) {
    for device in devices {
        let id: DeviceId = device.parse().unwrap();
        wait::until(&format!("the position of {device}"), BOUND, || async {
            let found = store.positions(&tenant.scope).latest(&id).await;
            found.is_ok_and(|found| found.is_some())
        })
        .await
        .unwrap();
    }
}

async fn only_lanes_with_rows_for_it_wait(away: &'static str, back: &'static str) {
    let rig = Rig::new(2).await;
    let here = tenant_of_lane(&rig, 1, 0).await;
    let there = tenant_of_lane(&rig, 100, 1).await;
    let store = rig.store().await;
    stored_in(&store, &here, "here", MAIN).await;
    stored_in(&store, &there, "there", "eu").await;
    rig.sink(|settings| settings.projection.batch_records = 3)
        .await;
    // Each moves once.
    let devices: Vec<String> = (0..100).map(|n| format!("d{n}")).collect();
    let move_to = async |tenant: &Tenant, from: usize, to: usize| {
        for device in &devices[from..to] {
            rig.append(tenant, device, [1]).await;
        }
    };
    for tenant in [&here, &there] {
        move_to(tenant, 0, 5).await;
        known(&store, tenant, &devices[..5]).await;
    }
    let mut shard = rig.database("eu").await;
    shard.execute(away).await.unwrap();
    for (from, to) in [(5, 30), (30, 60)] {
        move_to(&there, from, to).await;
        move_to(&here, from, to).await;
        known(&store, &here, &devices[..to]).await;
    }
    shard.execute(back).await.unwrap();
    move_to(&there, 60, 100).await;
    known(&store, &there, &devices).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_shard_refuses_only_lanes_with_rows_for_it_wait() {
    only_lanes_with_rows_for_it_wait(
        "ALTER TABLE latest_positions RENAME TO away",
        "ALTER TABLE away RENAME TO latest_positions",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_shard_does_not_answer_only_lanes_with_rows_for_it_wait() {
    only_lanes_with_rows_for_it_wait("BEGIN IMMEDIATE", "ROLLBACK").await;
}
