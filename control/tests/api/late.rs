//! What is still on its way when a tenant is closed or a device is erased: it is waited for, and
//! erased when it has come.

use std::time::Duration;

use laneway_log::groups::{Group, METERING, PROCESSOR, PROJECTION};
use laneway_log::{GroupSpec, MemberEvent, Records, Topic, Unit};
use laneway_runtime::{Clock, SystemClock};
use laneway_store::Erasure;
use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{PARTITIONS, Rig, rig, rig_with};

laneway_testkit::on_both_databases!(
    a_tenant_is_closed_once_what_it_had_sent_is_through,
    an_append_that_takes_as_long_as_it_may_is_waited_for,
    what_a_device_had_sent_before_it_was_erased_is_erased_when_it_comes,
    a_device_that_is_registered_again_keeps_what_it_has,
);

const BOUND: Duration = Duration::from_secs(60);

fn authority() -> RoleAuthority {
    RoleAuthority::for_role("control")
}

/// A tenant, and the lane of its `truck`.
async fn acme(rig: &Rig) -> (TenantId, u32) {
    let entry = rig.heard("acme", |_| true).await;
    (entry.id, entry.body.placement.lane("truck"))
}

/// A record of a device, as of now.
async fn append(rig: &Rig, topic: Topic, lane: u32, tenant: TenantId, device: &str) {
    let (key, now) = (format!("{tenant}/{device}"), SystemClock.now_us() / 1000);
    let mut records = Records::new();
    records.push(topic, lane, now, key.as_bytes(), [], b"value");
    rig.log.append(records).await.unwrap();
}

/// A group has read a lane of its topics to their end.
async fn reads(rig: &Rig, group: Group, lane: u32) {
    let spec = GroupSpec::new(group.name, group.topics, "test");
    let mut member = rig.log.join(spec).await.unwrap();
    let epoch = loop {
        if let MemberEvent::Assigned { epoch, .. } = member.next().await.unwrap() {
            break epoch;
        }
    };
    let mut offsets = Vec::new();
    for topic in group.topics.iter().copied() {
        let end = rig.log.bounds(topic, lane).await.unwrap().end;
        offsets.push((topic, lane, end));
    }
    let unit = Unit {
        epoch,
        records: Records::new(),
        offsets,
    };
    member.committer().commit(unit).await.unwrap();
    member.leave().await;
}

async fn has_position(rig: &Rig, tenant: TenantId, device: &str) -> bool {
    let scope = authority().scope(tenant);
    let positions = rig.store.positions(&scope);
    let found = positions.latest(&device.parse().unwrap()).await.unwrap();
    found.is_some()
}

/// The steps that are done, and whether the tenant is closed.
async fn closure(rig: &Rig) -> (Vec<String>, bool) {
    closure_of(rig, "acme").await
}

async fn closure_of(rig: &Rig, slug: &str) -> (Vec<String>, bool) {
    let path = format!("/tenants/{slug}/closure");
    let found = rig.operate("GET", &path, &Value::Null).await.body;
    let steps = found["erased"].as_array().unwrap().iter();
    let steps = steps.map(|step| step["what"].as_str().unwrap().to_owned());
    (steps.collect(), !found["closed_at"].is_null())
}

/// It stays at these steps for that long.
async fn stays_at(rig: &Rig, steps: &[&str], rounds: u32) {
    for _ in 0..rounds * 4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (done, _) = closure(rig).await;
        assert!(
            done.len() <= steps.len() && steps.starts_with(&as_str(&done)),
            "{done:?}"
        );
    }
    assert_eq!(closure(rig).await.0, steps);
}

fn as_str(steps: &[String]) -> Vec<&str> {
    steps.iter().map(String::as_str).collect()
}

/// A tenant in every lane.
async fn globex(rig: &Rig) {
    let globex = json!({"slug": "globex", "lanes": PARTITIONS});
    let made = rig.operate("POST", "/tenants", &globex).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

/// A broker may have hung, while others appended to the lane.
async fn an_append_that_takes_as_long_as_it_may_is_waited_for(database: Database) {
    let rig = rig_with(database, |settings| settings.append_bound_ms = 5000).await;
    rig.acme().await;
    let (tenant, lane) = acme(&rig).await;
    globex(&rig).await;
    let other = rig.heard("globex", |_| true).await.id;
    let closing = json!({"state": "closing"});
    let answer = rig.operate("PUT", "/tenants/acme/state", &closing).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // Longer than until everybody has heard of it, but not than an append may take.
    let begun = ["destinations", "grants"];
    tokio::time::sleep(Duration::from_millis(5500)).await;
    append(&rig, Topic::LocationUpdates, lane, other, "van").await;
    for group in [PROCESSOR, METERING] {
        reads(&rig, group, lane).await;
    }
    stays_at(&rig, &begun, 2).await;
    append(&rig, Topic::LocationUpdates, lane, tenant, "truck").await;
    stays_at(&rig, &begun, 4).await;
    for group in [PROCESSOR, METERING] {
        reads(&rig, group, lane).await;
    }
    until("the closure", BOUND, || async { closure(&rig).await.1 })
        .await
        .unwrap();
}

async fn a_tenant_is_closed_once_what_it_had_sent_is_through(database: Database) {
    let rig = rig(database).await;
    rig.acme().await;
    let (tenant, lane) = acme(&rig).await;
    append(&rig, Topic::LocationUpdates, lane, tenant, "truck").await;
    // In that lane as well, and with nothing in it.
    globex(&rig).await;
    let closing = json!({"state": "closing"});
    for tenant in ["acme", "globex"] {
        let path = format!("/tenants/{tenant}/state");
        let answer = rig.operate("PUT", &path, &closing).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let begun = ["destinations", "grants"];
    // For longer than until everybody has heard of it.
    stays_at(&rig, &begun, 7).await;
    until("the closure of another", BOUND, || async {
        closure_of(&rig, "globex").await.1
    })
    .await
    .unwrap();
    stays_at(&rig, &begun, 0).await;

    append(&rig, Topic::TenantStreams, lane, tenant, "truck").await;
    reads(&rig, PROCESSOR, lane).await;
    stays_at(&rig, &begun, 2).await;
    reads(&rig, METERING, lane).await;
    let accepted = [&begun[..], &["accepted"]].concat();
    until("what was accepted to be through", BOUND, || async {
        closure(&rig).await.0 == accepted
    })
    .await
    .unwrap();
    stays_at(&rig, &accepted, 2).await;

    rig.projected(tenant, "truck", 0).await;
    assert!(has_position(&rig, tenant, "truck").await);
    reads(&rig, PROJECTION, lane).await;
    until("the closure", BOUND, || async { closure(&rig).await.1 })
        .await
        .unwrap();
    let (done, _) = closure(&rig).await;
    assert_eq!(
        as_str(&done)[..5],
        [&accepted[..], &["derived", "rows"]].concat()
    );
    assert!(!has_position(&rig, tenant, "truck").await);
}

async fn erasures(rig: &Rig) -> Vec<Erasure> {
    let authority = authority();
    let erasures = rig.store.erasures(&authority);
    erasures.open(i64::MAX, None, 10).await.unwrap()
}

async fn register(rig: &Rig, key: &str, device: &str) {
    let new = json!({"id": device});
    let made = rig.ask("POST", "/devices", key, &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

async fn erase(rig: &Rig, key: &str, device: &str) {
    let path = format!("/devices/{device}/personal");
    let erased = rig.ask("DELETE", &path, key, &Value::Null).await;
    assert_eq!(erased.status, 200, "{}", erased.body);
}

/// Keys of the processor's state in a lane whose last record is no mark.
async fn states(rig: &Rig, lane: u32) -> usize {
    let bounds = rig.log.bounds(Topic::ProcessorState, lane).await.unwrap();
    let from = vec![(lane, bounds.earliest)];
    let mut reader = rig.log.reader(Topic::ProcessorState, from).await.unwrap();
    let (mut left, mut at) = (std::collections::BTreeSet::new(), bounds.earliest);
    while at < bounds.last_stable {
        let batch = reader.next().await.unwrap();
        at = batch.next_offset();
        for record in batch.iter() {
            match record.value {
                Some(_) => left.insert(record.key.to_vec()),
                None => left.remove(record.key),
            };
        }
    }
    left.len()
}

async fn what_a_device_had_sent_before_it_was_erased_is_erased_when_it_comes(database: Database) {
    const IDLE: u64 = 30;
    let rig = rig_with(database, |settings| settings.idle_close_seconds = IDLE).await;
    let key = rig.acme().await;
    let (tenant, lane) = acme(&rig).await;
    register(&rig, &key, "truck").await;
    append(&rig, Topic::LocationUpdates, lane, tenant, "truck").await;
    erase(&rig, &key, "truck").await;
    // For longer than until everybody has heard of it.
    for _ in 0..28 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let waits = erasures(&rig).await;
        assert!(waits.len() == 1 && waits[0].processed_at.is_none());
    }
    // The processor comes to it, then the projection.
    for topic in [Topic::TenantStreams, Topic::ProcessorState] {
        append(&rig, topic, lane, tenant, "truck").await;
    }
    reads(&rig, PROCESSOR, lane).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let waits = erasures(&rig).await;
        assert!(
            waits[0].processed_at.is_none(),
            "metering would name it again"
        );
    }
    reads(&rig, METERING, lane).await;
    until("what was accepted to be through", BOUND, || async {
        erasures(&rig).await[0].processed_at.is_some()
    })
    .await
    .unwrap();
    rig.projected(tenant, "truck", 0).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(has_position(&rig, tenant, "truck").await);
    }
    reads(&rig, PROJECTION, lane).await;
    until("the late position to be gone", BOUND, || async {
        !has_position(&rig, tenant, "truck").await
    })
    .await
    .unwrap();
    assert_eq!(states(&rig, lane).await, 0);

    // What the processor had held back until the device was idle.
    let waits = erasures(&rig).await;
    assert_eq!(waits.len(), 1, "it waits once more");
    let held_back = waits[0].accepted_until - waits[0].asked_at;
    assert_eq!(held_back, IDLE as i64 * 1_000_000);
    for topic in [Topic::TenantStreams, Topic::ProcessorState] {
        append(&rig, topic, lane, tenant, "truck").await;
    }
    rig.projected(tenant, "truck", 1).await;
    reads(&rig, PROJECTION, lane).await;
    until("the erasure to be done", BOUND, || async {
        erasures(&rig).await.is_empty()
    })
    .await
    .unwrap();
    assert!(!has_position(&rig, tenant, "truck").await);
    assert_eq!(states(&rig, lane).await, 0);
}

async fn a_device_that_is_registered_again_keeps_what_it_has(database: Database) {
    let rig = rig(database).await;
    let key = rig.acme().await;
    let (tenant, lane) = acme(&rig).await;
    register(&rig, &key, "truck").await;
    append(&rig, Topic::LocationUpdates, lane, tenant, "truck").await;
    erase(&rig, &key, "truck").await;
    register(&rig, &key, "truck").await;
    rig.projected(tenant, "truck", 0).await;
    until("the erasure to be forgotten", BOUND, || async {
        erasures(&rig).await.is_empty()
    })
    .await
    .unwrap();
    assert!(has_position(&rig, tenant, "truck").await);
}
