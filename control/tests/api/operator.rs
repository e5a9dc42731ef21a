//! The operator: tenants, keys, lag.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{PARTITIONS, TOPIC_SET, rig};

laneway_testkit::on_both_databases!(
    the_operators_key_manages_tenants_and_acts_for_them,
    a_slug_is_taken_once_and_some_never,
    the_lag_of_every_group_is_told_lane_by_lane,
);

async fn the_operators_key_manages_tenants_and_acts_for_them(database: Database) {
    let rig = rig(database).await;
    let operator = rig.operator_key().await;
    let limits = json!({"events_per_second": 100, "device_events_per_second": 5});
    let body = json!({"slug": "acme", "lanes": 3, "limits": limits});
    let made = rig.ask("POST", "/tenants", &operator, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["lanes"].as_array().unwrap().len(), 3);
    let id = made.body["id"].as_str().unwrap();
    for name in [id, "acme"] {
        let found = rig
            .ask("GET", &format!("/tenants/{name}"), &operator, &Value::Null)
            .await;
        assert_eq!((found.status, &found.body["id"]), (200, &made.body["id"]));
    }
    let raised = json!({"events_per_second": 200, "device_events_per_second": 5});
    let changed = rig
        .ask("PUT", "/tenants/acme/limits", &operator, &raised)
        .await;
    assert_eq!(changed.body["limits"]["events_per_second"], 200);
    let device = rig
        .ask(
            "POST",
            "/tenants/acme/devices",
            &operator,
            &json!({"id": "truck"}),
        )
        .await;
    assert_eq!(device.status, 201);
    let listed = rig.ask("GET", "/tenants", &operator, &Value::Null).await;
    assert_eq!(
        listed.body["items"].as_array().unwrap().len(),
        4,
        "platform, default, runtime and acme"
    );
    assert_eq!(
        rig.ask("GET", "/tenants/none/devices", &operator, &Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        rig.operate("GET", "/devices", &Value::Null).await.status,
        400
    );
    assert_eq!(
        rig.ask("POST", "/operator/backup", &operator, &Value::Null)
            .await
            .status,
        409
    );
    for (state, status) in [
        ("closed", 409),
        ("closing", 200),
        ("closed", 200),
        ("active", 409),
    ] {
        let answer = rig
            .ask(
                "PUT",
                "/tenants/acme/state",
                &operator,
                &json!({"state": state}),
            )
            .await;
        assert_eq!(answer.status, status, "{state}");
    }
}

async fn a_slug_is_taken_once_and_some_never(database: Database) {
    let rig = rig(database).await;
    rig.tenant("acme", &["tenant:admin"]).await;
    for (slug, status) in [
        ("acme", 409),
        ("platform", 409),
        ("runtime", 409),
        ("A", 422),
        ("a--b", 422),
        ("-a", 422),
    ] {
        let answer = rig
            .operate("POST", "/tenants", &json!({"slug": slug}))
            .await;
        assert_eq!(answer.status, status, "{slug}");
    }
    let lanes = rig
        .operate("POST", "/tenants", &json!({"slug": "wide", "lanes": 9}))
        .await;
    assert_eq!(lanes.status, 422, "there are 8 partitions");
}

async fn the_lag_of_every_group_is_told_lane_by_lane(database: Database) {
    let rig = rig(database).await;
    let answer = rig.operate("GET", "/operator/lag", &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let lanes = answer.body["lanes"].as_array().unwrap();
    for (group, topics) in [("processor", 2), ("sink", 1), ("projection", 1)] {
        for set in [Value::Null, json!(TOPIC_SET)] {
            let of_set = |l: &&Value| l["group"] == group && l["topics"] == set;
            let count = lanes.iter().filter(of_set).count();
            assert_eq!(count, topics * PARTITIONS as usize, "{group}, {set}");
        }
    }
}
