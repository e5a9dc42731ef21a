//! What is kept of a device: exported, and erased.

use std::time::Duration;

use laneway_log::{Records, Topic};
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Rig, rig};

laneway_testkit::on_both_databases!(
    what_is_kept_of_a_device_is_exported_and_erased_for_its_own_tenant_alone,
);

const BOUND: Duration = Duration::from_secs(60);

/// What the projection and the processor keep of a device that has sent.
async fn sent(rig: &Rig, tenant: &str, device: &str, from_offset: u64) {
    let entry = rig.heard(tenant, |_| true).await;
    rig.projected(entry.id, device, from_offset).await;
    let mut records = Records::new();
    let lane = entry.body.placement.lane(device);
    for part in ["", "/1"] {
        let key = format!("{}/{device}{part}", entry.id);
        records.push(Topic::ProcessorState, lane, 1, key.as_bytes(), [], b"state");
    }
    rig.log.append(records).await.unwrap();
}

async fn what_is_kept_of_a_device_is_exported_and_erased_for_its_own_tenant_alone(
    database: Database,
) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let eve = rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    for (slug, key, from_offset) in [("acme", &acme, 0), ("globex", &eve, 1)] {
        let made = rig
            .ask("POST", "/devices", key, &json!({"id": "truck"}))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        sent(&rig, slug, "truck", from_offset).await;
    }
    sent(&rig, "acme", "truck-2", 2).await;
    let token = json!({"kind": "token"});
    let made = rig
        .ask("POST", "/devices/truck/credentials", &acme, &token)
        .await;
    let secret = made.body["token"].as_str().unwrap();
    let path = "/devices/truck/personal";
    // It asks for something that it may not: that is in the trail.
    let device = format!("Bearer {secret}");
    assert_eq!(rig.get("/devices", &device).await.0, 403);

    let admin = rig.key("acme", &["tenant:admin"]).await;
    assert_eq!(rig.get(path, &admin).await.0, 403, "the owner's alone");
    let (status, kept) = rig.get(path, &acme).await;
    assert_eq!(status, 200, "{kept}");
    assert_eq!(kept["device"]["id"], "truck");
    assert_eq!(kept["position"]["lat"], 52.5);
    assert_eq!(kept["credentials"].as_array().unwrap().len(), 1);
    assert!(!kept.to_string().contains(secret));
    assert_eq!(rig.get("/devices/none/personal", &acme).await.0, 404);

    let erased = rig.ask("DELETE", path, &acme, &Value::Null).await;
    assert_eq!(erased.status, 200, "{}", erased.body);
    assert_eq!(
        (&erased.body["rows"], &erased.body["processor_state"]),
        (&json!(1), &json!(2)),
        "{}",
        erased.body
    );
    assert!(erased.body["topics_until"].is_string());
    for path in ["/devices/truck", "/devices/truck/position"] {
        assert_eq!(rig.get(path, &acme).await.0, 404, "{path}");
    }
    // The trail stays whole, without what is personal in it.
    let (_, left) = rig.get(path, &acme).await;
    assert!(
        left["device"].is_null() && left["position"].is_null(),
        "{left}"
    );
    assert_eq!(left["audit"].as_array().unwrap().len(), 1, "{left}");
    assert!(kept.to_string().contains("127.0.0.1"));
    assert!(!left.to_string().contains("127.0.0.1"), "{left}");
    until("its secret to be refused", BOUND, || async {
        rig.who(&device).await.is_err()
    })
    .await
    .unwrap();
    let again = rig.ask("DELETE", path, &acme, &Value::Null).await;
    assert_eq!((again.status, &again.body["rows"]), (200, &json!(0)));
    let none = "/devices/none/personal";
    let none = rig.ask("DELETE", none, &acme, &Value::Null).await;
    assert_eq!(none.status, 404, "{}", none.body);
    // What has the same name elsewhere, or a name that begins alike, is another.
    assert_eq!(rig.get("/devices/truck/position", &eve).await.0, 200);
    assert_eq!(rig.get("/devices/truck-2/position", &acme).await.0, 200);
    let next = rig.ask("DELETE", "/devices/truck-2/personal", &acme, &Value::Null);
    let next = next.await;
    assert_eq!(
        next.body["processor_state"], 2,
        "of one that was removed: {}",
        next.body
    );
}
