//! Service accounts and their keys.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    a_key_does_what_its_account_may_until_that_changes,
    an_account_gives_no_more_than_who_makes_or_changes_it_may,
);

async fn account(rig: &Rig, key: &str, body: Value) -> String {
    let made = rig.ask("POST", "/service-accounts", key, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["id"].as_str().unwrap().to_owned()
}

async fn status(rig: &Rig, path: &str, key: &str) -> u16 {
    rig.ask("GET", path, key, &Value::Null).await.status
}

async fn a_key_does_what_its_account_may_until_that_changes(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let id = account(&rig, &owner, json!({"name": "reports", "role": "admin"})).await;
    let path = format!("/service-accounts/{id}");
    let as_it = json!({"name": "k", "account": id});
    let made = rig.ask("POST", "/keys", &owner, &as_it).await;
    assert_eq!(
        (made.status, &made.body["role"], &made.body["account"]),
        (201, &json!("admin"), &json!(id)),
        "{}",
        made.body
    );
    let key = bearer(&made.body["key"]);
    let more = json!({"name": "k", "account": id, "role": "owner"});
    assert_eq!(rig.ask("POST", "/keys", &owner, &more).await.status, 409);
    let none = json!({"name": "k", "account": "svc_00000000000000000000000001"});
    assert_eq!(rig.ask("POST", "/keys", &owner, &none).await.status, 422);
    let wrong = json!({"name": "k", "account": "reports"});
    assert_eq!(rig.ask("POST", "/keys", &owner, &wrong).await.status, 400);
    assert_eq!(status(&rig, "/audit", &key).await, 200);

    let read = rig.ask("GET", &path, &owner, &Value::Null).await;
    let header = format!("if-match: {}\r\n", read.tag());
    let lower = json!({"role": "viewer"});
    let lowered = rig.ask_with("PATCH", &path, &owner, &header, &lower).await;
    assert_eq!(
        (lowered.status, &lowered.body["role"]),
        (200, &json!("viewer"))
    );
    assert_eq!(status(&rig, "/audit", &key).await, 403, "no viewer's");
    assert_eq!(status(&rig, "/devices", &key).await, 200);
    let stale = rig.ask_with("PATCH", &path, &owner, &header, &lower).await;
    assert_eq!(stale.status, 412);
    for (state, expected) in [("disabled", 401), ("active", 200)] {
        let body = json!({ "state": state });
        let changed = rig.ask("PATCH", &path, &owner, &body).await;
        assert_eq!(
            (changed.status, &changed.body["state"]),
            (200, &json!(state))
        );
        rig.until_status("/devices", &key, expected).await;
    }
    let listed = rig
        .ask("GET", "/service-accounts", &owner, &Value::Null)
        .await;
    assert_eq!(listed.body["items"][0]["id"], json!(id));
    let trail = rig
        .ask("GET", "/audit?limit=100", &owner, &Value::Null)
        .await;
    let changes = trail.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "PATCH /service-accounts/{account}");
    assert_eq!(changes.count(), 4, "{}", trail.body);
    for expected in [204, 404] {
        let gone = rig.ask("DELETE", &path, &owner, &Value::Null).await;
        assert_eq!(gone.status, expected);
    }
    assert_eq!(status(&rig, "/devices", &key).await, 401);
    let keys = rig.ask("GET", "/keys", &owner, &Value::Null).await;
    let named = keys.body["items"].as_array().unwrap().iter();
    assert_eq!(named.filter(|key| key["account"] == json!(id)).count(), 0);
}

async fn an_account_gives_no_more_than_who_makes_or_changes_it_may(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let body = json!({"name": "a", "role": "admin"});
    let admin = rig.ask("POST", "/keys", &owner, &body).await;
    let admin = bearer(&admin.body["key"]);
    for (body, expected) in [
        (json!({"name": "x", "role": "owner"}), 403),
        (json!({"name": "x", "grants": ["tenant:own"]}), 403),
        (json!({"name": "x", "grants": ["operator"]}), 422),
        (json!({"name": "x"}), 422),
        (json!({"name": "", "role": "viewer"}), 422),
        (json!({"name": "x", "role": "admin"}), 201),
    ] {
        let made = rig.ask("POST", "/service-accounts", &admin, &body).await;
        assert_eq!(made.status, expected, "{body}: {}", made.body);
    }
    let high = account(&rig, &owner, json!({"name": "o", "role": "owner"})).await;
    let path = format!("/service-accounts/{high}");
    let key = rig
        .ask(
            "POST",
            "/keys",
            &admin,
            &json!({"name": "k", "account": high}),
        )
        .await;
    assert_eq!(key.status, 403, "it would be an owner's");
    for (body, expected) in [
        (json!({"state": "disabled"}), 200),
        (json!({"state": "active"}), 403),
        (json!({"role": "owner", "state": "active"}), 403),
        (json!({"grants": []}), 422),
        (json!({"role": "viewer", "state": "active"}), 200),
        (json!({"role": "owner"}), 403),
    ] {
        let changed = rig.ask("PATCH", &path, &admin, &body).await;
        assert_eq!(changed.status, expected, "{body}: {}", changed.body);
    }
}
