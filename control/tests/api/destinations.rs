//! Destinations: as many as the tenant may have, changed by who knows what they are.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::rig;

laneway_testkit::on_both_databases!(
    a_tenant_has_no_more_destinations_than_its_limit,
    a_change_of_a_destination_that_is_based_on_an_older_version_is_refused,
);

fn hook() -> Value {
    json!({"kind": "webhook", "url": "https://example.com/hook"})
}

async fn a_tenant_has_no_more_destinations_than_its_limit(database: Database) {
    let rig = rig(database).await;
    let limits = json!({"destinations": 2});
    let tenant = json!({"slug": "acme", "owner": "Ada", "limits": limits});
    let owner = rig.owned(tenant).await;
    let body = hook();
    let create = || rig.ask("POST", "/destinations", &owner, &body);
    // However many ask at a time.
    let made = futures_util::future::join_all((0..5).map(|_| create())).await;
    let created: Vec<_> = made.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(created.len(), 2);
    let refused = made.iter().find(|answer| answer.status != 201).unwrap();
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (403, &json!("https://laneway.dev/problems/limit-reached"))
    );
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("destinations")
    );
    let id = created[0].body["id"].as_str().unwrap();
    let path = format!("/destinations/{id}");
    assert_eq!(
        rig.ask("DELETE", &path, &owner, &Value::Null).await.status,
        204
    );
    assert_eq!(create().await.status, 201, "there is room again");
    assert_eq!(create().await.status, 403);
}

async fn a_change_of_a_destination_that_is_based_on_an_older_version_is_refused(
    database: Database,
) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let made = rig.ask("POST", "/destinations", &owner, &hook()).await;
    let path = format!("/destinations/{}", made.body["id"].as_str().unwrap());
    let read = rig.ask("GET", &path, &owner, &Value::Null).await;
    assert_eq!(read.tag(), made.tag());
    let header = format!("if-match: {}\r\n", read.tag());
    let off = json!({"state": "disabled"});
    let changed = rig.ask_with("PATCH", &path, &owner, &header, &off).await;
    assert_eq!(
        (changed.status, &changed.body["state"]),
        (200, &json!("disabled"))
    );
    assert_ne!(changed.tag(), read.tag());
    let on = json!({"state": "active"});
    let stale = rig.ask_with("PATCH", &path, &owner, &header, &on).await;
    assert_eq!(
        (stale.status, &stale.body["type"]),
        (412, &json!("https://laneway.dev/problems/changed"))
    );
    let any = rig
        .ask_with("PATCH", &path, &owner, "if-match: *\r\n", &on)
        .await;
    assert_eq!(any.status, 200);
}
