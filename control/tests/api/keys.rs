//! Keys: rotated, bounded in time, and seen in use.

use std::sync::Arc;
use std::time::Duration;

use laneway_runtime::{Clock, SystemClock};
use laneway_tenancy::control::RoleAuthority;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    a_rotated_keys_former_secret_holds_for_the_overlap_and_no_longer,
    a_key_ends_when_it_is_said_or_when_the_tenants_option_says,
    a_key_is_not_rotated_by_who_may_less,
    a_change_of_a_key_that_is_based_on_an_older_version_is_refused,
    the_last_use_of_a_key_is_listed,
    people_are_as_many_as_the_tenant_may_have,
);

/// A key's id and secret.
async fn made(rig: &Rig, owner: &str, body: Value) -> (String, String) {
    let made = rig.ask("POST", "/keys", owner, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().unwrap().to_owned();
    (id, bearer(&made.body["key"]))
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(SystemClock.now_us()).unwrap()
}

async fn status(rig: &Rig, key: &str) -> u16 {
    rig.ask("GET", "/tenant", key, &Value::Null).await.status
}

async fn a_rotated_keys_former_secret_holds_for_the_overlap_and_no_longer(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let (id, first) = made(&rig, &owner, json!({"name": "k", "role": "viewer"})).await;
    assert_eq!(status(&rig, &first).await, 200);
    let path = format!("/keys/{id}/rotate");
    let rotate = |body: Value| {
        let (rig, owner, path) = (&rig, &owner, &path);
        async move { rig.ask("POST", path, owner, &body).await }
    };
    for body in [
        json!({"overlap_seconds": 2_592_001}),
        json!({"overlap_seconds": -1}),
        json!({"expires_at": "2020-01-01T00:00:00Z"}),
        json!({"overlap": 1}),
    ] {
        let refused = rotate(body.clone()).await;
        assert!([400, 422].contains(&refused.status), "{body}");
    }
    let rotated = rotate(json!({"overlap_seconds": 3600})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let second = bearer(&rotated.body["key"]);
    assert_eq!(rotated.body["id"], id);
    assert!(rotated.body["former_until"].is_string());
    assert_ne!(first, second);
    for key in [&first, &second] {
        assert_eq!(status(&rig, key).await, 200, "within the overlap");
    }
    let rotated = rotate(json!({"overlap_seconds": 1})).await;
    let third = bearer(&rotated.body["key"]);
    assert_eq!(status(&rig, &first).await, 401, "two rotations ago");
    assert_eq!(status(&rig, &third).await, 200);
    until(
        "the end of the overlap",
        Duration::from_secs(10),
        || async { status(&rig, &second).await == 401 },
    )
    .await
    .unwrap();
    let rotated = rotate(json!({"overlap_seconds": 0})).await;
    assert_eq!(rotated.body.get("former_until"), None);
    assert_eq!(status(&rig, &third).await, 401, "at once");
    assert_eq!(status(&rig, &bearer(&rotated.body["key"])).await, 200);
    let none = "/keys/key_00000000000000000000000001/rotate";
    let unknown = rig.ask("POST", none, &owner, &json!({})).await;
    assert_eq!(unknown.status, 404);
}

async fn a_key_ends_when_it_is_said_or_when_the_tenants_option_says(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let past = json!({"name": "k", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"});
    let refused = rig.ask("POST", "/keys", &owner, &past).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let soon = (now() + Duration::from_millis(1500)).to_string();
    let body = json!({"name": "k", "role": "viewer", "expires_at": soon});
    let (ending, key) = made(&rig, &owner, body).await;
    assert_eq!(status(&rig, &key).await, 200);
    until("the end of the key", Duration::from_secs(10), || async {
        status(&rig, &key).await == 401
    })
    .await
    .unwrap();
    let path = format!("/keys/{ending}/rotate");
    let ended = rig.ask("POST", &path, &owner, &json!({})).await;
    assert_eq!(ended.status, 409, "{}", ended.body);

    let options = json!({"options": {"key_lifetime_seconds": 3600}});
    let set = rig.ask("PUT", "/tenants/acme", &owner, &options).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let late = json!({"name": "k", "role": "viewer", "expires_at": "2100-01-01T00:00:00Z"});
    let refused = rig.ask("POST", "/keys", &owner, &late).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("key_lifetime_seconds"), "{detail}");
    let body = json!({"name": "k", "role": "viewer"});
    let bounded = rig.ask("POST", "/keys", &owner, &body).await;
    let ends: jiff::Timestamp = bounded.body["expires_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let left = ends.duration_since(now()).as_secs();
    assert!((3500..=3600).contains(&left), "{left} s");
    // A rotation begins the time anew.
    let again = rig.ask("POST", &path, &owner, &json!({})).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(again.body.get("former_until"), None, "it had ended");
    assert_eq!(status(&rig, &bearer(&again.body["key"])).await, 200);
    let body = json!({"slug": "late", "owner": "Bo", "options": {"key_lifetime_seconds": 60}});
    let tenant = rig.operate("POST", "/tenants", &body).await;
    assert!(tenant.body["owner"]["expires_at"].is_string());
}

async fn a_key_is_not_rotated_by_who_may_less(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let (above, _) = made(&rig, &owner, json!({"name": "o", "role": "owner"})).await;
    let (_, admin) = made(&rig, &owner, json!({"name": "a", "role": "admin"})).await;
    let rotate = format!("/keys/{above}/rotate");
    let refused = rig.ask("POST", &rotate, &admin, &json!({})).await;
    assert_eq!(refused.status, 403, "its secret would be an owner's");
    let later = json!({"expires_at": "2100-01-01T00:00:00Z"});
    let path = format!("/keys/{above}");
    let refused = rig.ask("PATCH", &path, &admin, &later).await;
    assert_eq!(refused.status, 403);
    let by_operator = format!("/tenants/acme/keys/{above}/rotate");
    let rotated = rig.operate("POST", &by_operator, &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let trail = rig
        .ask("GET", "/audit?limit=100", &owner, &Value::Null)
        .await;
    let rotations = trail.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| {
            let action = entry["action"].as_str().unwrap_or_default();
            action.ends_with("/keys/{key}/rotate")
        });
    assert_eq!(rotations.count(), 2, "the refused one too: {}", trail.body);
}

async fn a_change_of_a_key_that_is_based_on_an_older_version_is_refused(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let (id, key) = made(&rig, &owner, json!({"name": "k", "role": "viewer"})).await;
    let path = format!("/keys/{id}");
    let read = rig.ask("GET", &path, &owner, &Value::Null).await;
    assert_eq!((read.status, &read.body["name"]), (200, &json!("k")));
    let tag = read.tag();
    let header = format!("if-match: {tag}\r\n");
    let name = json!({"name": "dashboard"});
    let changed = rig.ask_with("PATCH", &path, &owner, &header, &name).await;
    assert_eq!(
        (changed.status, &changed.body["name"]),
        (200, &json!("dashboard"))
    );
    assert_ne!(changed.tag(), tag);
    assert_eq!(status(&rig, &key).await, 200, "its secret is as before");
    let rotate = format!("{path}/rotate");
    for (method, path, body) in [("PATCH", &path, name), ("POST", &rotate, json!({}))] {
        let stale = rig.ask_with(method, path, &owner, &header, &body).await;
        assert_eq!(
            (stale.status, &stale.body["type"]),
            (412, &json!("https://laneway.dev/problems/changed"))
        );
    }
    let empty = rig.ask("PATCH", &path, &owner, &json!({"name": " "})).await;
    assert_eq!(empty.status, 422);
}

async fn the_last_use_of_a_key_is_listed(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let (id, key) = made(&rig, &owner, json!({"name": "k", "role": "viewer"})).await;
    let path = format!("/keys/{id}");
    let last = || async {
        let read = rig.ask("GET", &path, &owner, &Value::Null).await;
        read.body["last_used_at"].clone()
    };
    assert_eq!(last().await, Value::Null);
    assert_eq!(status(&rig, &key).await, 200);
    let uses = Arc::clone(&rig.authenticator).drain_uses();
    let authority = RoleAuthority::for_role("test");
    rig.store.note_uses(&authority, &uses).await.unwrap();
    assert!(last().await.is_string());
}

async fn people_are_as_many_as_the_tenant_may_have(database: Database) {
    let rig = rig(database).await;
    let owner = rig
        .owned(json!({"slug": "acme", "owner": "Ada", "limits": {"users": 3}}))
        .await;
    let ask = async |body: Value| rig.ask("POST", "/keys", &owner, &body).await;
    let account = json!({"name": "exporter", "role": "viewer"});
    let account = rig.ask("POST", "/service-accounts", &owner, &account).await;
    assert_eq!(account.status, 201, "{}", account.body);
    let soon = jiff::Timestamp::from_second(now().as_second() + 6).unwrap();
    let programs = [
        json!({"name": "of an account", "account": account.body["id"]}),
        json!({"name": "without a role", "grants": ["stream:read"]}),
    ];
    // With the owner there are three.
    for body in [
        json!({"name": "Bob", "role": "viewer"}),
        json!({"name": "Cy, for a moment", "role": "admin", "expires_at": soon.to_string()}),
    ] {
        assert_eq!(ask(body).await.status, 201);
    }
    let fourth = json!({"name": "Di", "role": "viewer"});
    let refused = ask(fourth.clone()).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let kind = "https://laneway.dev/problems/limit-reached";
    assert_eq!(refused.body["type"], kind, "{}", refused.body);
    for body in programs {
        assert_eq!(ask(body).await.status, 201, "programs are no people");
    }
    until("a key to end", Duration::from_secs(20), || async {
        ask(fourth.clone()).await.status == 201
    })
    .await
    .unwrap();
}
