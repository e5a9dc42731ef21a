//! From the outbox to the log, and from there to the directory.

use std::time::Duration;

use laneway_log::Topic;
use laneway_schemas::TenantEvent;
use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Rig, rig};

laneway_testkit::on_both_databases!(
    changes_reach_the_log_in_the_order_of_their_versions,
    while_another_node_holds_the_lease_nothing_is_relayed,
);

const BOUND: Duration = Duration::from_secs(60);

async fn tenant_id(rig: &Rig, slug: &str) -> TenantId {
    let found = rig
        .operate("GET", &format!("/tenants/{slug}"), &Value::Null)
        .await;
    found.body["id"].as_str().unwrap().parse().unwrap()
}

async fn changes_reach_the_log_in_the_order_of_their_versions(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    for i in 0..20 {
        let made = rig
            .ask("POST", "/devices", &admin, &json!({"id": format!("d{i}")}))
            .await;
        assert_eq!(made.status, 201);
    }
    assert_eq!(
        rig.ask("DELETE", "/devices/d3", &admin, &Value::Null)
            .await
            .status,
        204
    );
    let id = tenant_id(&rig, "acme").await;
    until("the directory to have read all changes", BOUND, || async {
        rig.directory.version(id) == 23
    })
    .await
    .unwrap();
    assert!(rig.directory.device_known(id, "d4", 23));
    assert!(!rig.directory.device_known(id, "d3", 23));
    assert!(
        rig.directory.device_known(id, "d3", 22),
        "as of the version before"
    );
    let bounds = rig.log.bounds(Topic::TenantEvents, 0).await.unwrap();
    let mut reader = rig
        .log
        .reader(Topic::TenantEvents, vec![(0, bounds.earliest)])
        .await
        .unwrap();
    let mut versions: Vec<i64> = Vec::new();
    while versions.last() != Some(&23) {
        let batch = tokio::time::timeout(BOUND, reader.next())
            .await
            .unwrap()
            .unwrap();
        for record in batch.iter() {
            let event: TenantEvent = rig
                .codecs
                .decode_loading(record.value.unwrap())
                .await
                .unwrap();
            if event.tenant_id != id.to_string() {
                continue;
            }
            let key = laneway_directory::record_key(&event).unwrap();
            assert_eq!(record.key, key.as_bytes());
            versions.push(event.version);
        }
    }
    // Compaction may have taken the one change that a later one of the same device replaced.
    let expected = (1..=23).filter(|v| *v != 6 || versions.contains(v));
    assert_eq!(versions, expected.collect::<Vec<i64>>());
    until("the outboxes to be empty", BOUND, || async {
        untold(&rig).await == 0
    })
    .await
    .unwrap();
}

/// Changes that are in no log yet.
async fn untold(rig: &Rig) -> usize {
    let authority = RoleAuthority::for_role("test");
    let mut count = 0;
    for outbox in rig.store.outboxes(&authority) {
        count += outbox.oldest(100).await.unwrap().len();
    }
    count
}

async fn while_another_node_holds_the_lease_nothing_is_relayed(database: Database) {
    let rig = rig(database).await;
    let authority = RoleAuthority::for_role("test");
    let leases = rig.store.leases(&authority);
    // The node under test holds the lease after its first change; a far clock takes it over.
    rig.tenant("acme", &["tenant:admin"]).await;
    let acme = tenant_id(&rig, "acme").await;
    // Read by all, and noted as relayed.
    until("the first changes", BOUND, || async {
        rig.directory.version(acme) == 2 && untold(&rig).await == 0
    })
    .await
    .unwrap();
    let far = i64::MAX / 4;
    assert!(
        leases
            .take("outbox-relay", "another", far, 1_000_000)
            .await
            .unwrap()
    );
    rig.operate("POST", "/tenants/acme/devices", &json!({"id": "truck"}))
        .await;
    assert_eq!(untold(&rig).await, 1);
    leases.release("outbox-relay", "another").await.unwrap();
    until("the change after the lease ended", BOUND, || async {
        rig.directory.version(acme) == 3
    })
    .await
    .unwrap();
}
