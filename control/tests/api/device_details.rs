//! What is said of devices: changed, found, and seen.

use laneway_store::{PositionRow, ProjectionBatch};
use laneway_tenancy::AuthError;
use laneway_tenancy::control::RoleAuthority;
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    a_device_is_changed_as_it_was_read_or_not_at_all,
    devices_are_listed_by_what_is_said_of_them,
    a_disabled_devices_credentials_are_refused_until_it_is_enabled,
    a_device_shows_when_it_was_last_seen,
    what_is_not_valid_of_a_device_is_refused,
);

fn etag(answer: &Answer) -> String {
    let line = answer.head.lines().find(|line| line.starts_with("etag:"));
    line.unwrap()["etag:".len()..].trim().to_owned()
}

async fn change(rig: &Rig, admin: &str, etag: &str, body: &Value) -> Answer {
    // Headers of the caller's own go where the credentials are.
    let headers = format!("{admin}\r\nif-match: {etag}");
    rig.ask("PATCH", "/devices/truck", &headers, body).await
}

async fn a_device_is_changed_as_it_was_read_or_not_at_all(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let body = json!({"id": "truck", "name": "Seven", "labels": {"depot": "west", "tier": "1"}});
    let made = rig.ask("POST", "/devices", &admin, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let read = rig.ask("GET", "/devices/truck", &admin, &Value::Null).await;
    assert_eq!(etag(&read), etag(&made));
    let first = json!({"group": "north", "labels": {"tier": null, "vin": "WDB"}});
    let changed = change(&rig, &admin, &etag(&read), &first).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        (
            &changed.body["name"],
            &changed.body["group"],
            &changed.body["labels"]
        ),
        (
            &json!("Seven"),
            &json!("north"),
            &json!({"depot": "west", "vin": "WDB"})
        )
    );
    let late = change(&rig, &admin, &etag(&read), &json!({"name": "Eight"})).await;
    assert_eq!(late.status, 412);
    assert!(etag(&changed) != etag(&read));
    let again = rig.ask("GET", "/devices/truck", &admin, &Value::Null).await;
    assert_eq!((&again.body, etag(&again)), (&changed.body, etag(&changed)));
    let last = change(&rig, &admin, &etag(&changed), &json!({"group": ""})).await;
    assert_eq!(last.body["group"], "");
    let whatever = rig
        .ask("PATCH", "/devices/truck", &admin, &json!({"name": ""}))
        .await;
    assert_eq!(whatever.status, 200, "without If-Match the last one wins");
    let other = rig.tenant("other", &["tenant:admin"]).await;
    let foreign = rig
        .ask("PATCH", "/devices/truck", &other, &json!({"name": "x"}))
        .await;
    assert_eq!(foreign.status, 404);
}

async fn devices_are_listed_by_what_is_said_of_them(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    for (id, group, depot) in [
        ("a", "north", "west"),
        ("b", "south", "west"),
        ("c", "north", "e=1"),
    ] {
        let body = json!({"id": id, "group": group, "labels": {"depot": depot}});
        assert_eq!(rig.ask("POST", "/devices", &admin, &body).await.status, 201);
    }
    let off = json!({"state": "disabled"});
    assert_eq!(
        rig.ask("PATCH", "/devices/b", &admin, &off).await.status,
        200
    );
    for (query, expected) in [
        ("", "a b c"),
        ("?group=north", "a c"),
        ("?label=depot=west", "a b"),
        ("?label=depot%3De%3D1", "c"),
        ("?group=north&label=depot=west", "a"),
        ("?state=disabled", "b"),
        ("?state=enabled&limit=1&after=a", "c"),
        ("?group=nowhere", ""),
    ] {
        let path = format!("/devices{query}");
        let listed = rig.ask("GET", &path, &admin, &Value::Null).await;
        assert_eq!(listed.status, 200, "{query}: {}", listed.body);
        let items = listed.body["items"].as_array().unwrap();
        let ids: Vec<&str> = items.iter().map(|i| i["id"].as_str().unwrap()).collect();
        assert_eq!(ids.join(" "), expected, "{query}");
    }
    for (query, expected) in [
        ("?label=depot", 422),
        ("?state=lost", 400),
        ("?colour=red", 400),
    ] {
        let path = format!("/devices{query}");
        let refused = rig.ask("GET", &path, &admin, &Value::Null).await;
        assert_eq!(refused.status, expected, "{query}");
    }
}

async fn a_disabled_devices_credentials_are_refused_until_it_is_enabled(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    rig.ask("POST", "/devices", &admin, &json!({"id": "truck"}))
        .await;
    let path = "/devices/truck/credentials";
    let made = rig
        .ask("POST", path, &admin, &json!({"kind": "token"}))
        .await;
    let token = bearer(&made.body["token"]);
    let tenant = rig.who(&token).await.unwrap().tenant.id;
    let state = async |state: &str| {
        let body = json!({"state": state});
        rig.ask("PATCH", "/devices/truck", &admin, &body).await
    };
    assert_eq!(state("disabled").await.body["state"], "disabled");
    assert_eq!(rig.who(&token).await.err(), Some(AuthError::Disabled));
    let refused = rig.ask("GET", "/devices", &token, &Value::Null).await;
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (403, &json!("https://laneway.dev/problems/device-disabled"))
    );
    // What it sent before is judged as before: it is known throughout.
    rig.directory.wait_for(tenant, 4).await;
    assert!(rig.directory.device_known(tenant, "truck", 4));
    assert_eq!(state("enabled").await.body["state"], "enabled");
    assert!(rig.who(&token).await.is_ok());
}

async fn a_device_shows_when_it_was_last_seen(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    rig.ask("POST", "/devices", &admin, &json!({"id": "truck"}))
        .await;
    let before = rig.ask("GET", "/devices/truck", &admin, &Value::Null).await;
    assert_eq!(before.body["last_seen_at"], Value::Null);
    let row = PositionRow {
        tenant: rig.who(&admin).await.unwrap().tenant.id,
        device: "truck".parse().unwrap(),
        recorded_at: 1_000_000,
        received_at: 3_000_000,
        fix_id: "f".into(),
        revision: 0,
        body: "{}".into(),
    };
    let batch = ProjectionBatch {
        generation: 1,
        to_offset: 1,
        positions: vec![row],
        ..Default::default()
    };
    let authority = RoleAuthority::for_role("test");
    rig.store.project(&authority, batch).await.unwrap();
    let one = rig.ask("GET", "/devices/truck", &admin, &Value::Null).await;
    let all = rig.ask("GET", "/devices", &admin, &Value::Null).await;
    for seen in [&one.body, &all.body["items"][0]] {
        assert_eq!(seen["last_seen_at"], "1970-01-01T00:00:03Z");
        assert_eq!(seen["last_fix_at"], "1970-01-01T00:00:01Z");
    }
}

async fn what_is_not_valid_of_a_device_is_refused(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    rig.ask("POST", "/devices", &admin, &json!({"id": "truck"}))
        .await;
    for body in [
        json!({"name": "x".repeat(101)}),
        json!({"group": "a b"}),
        json!({"labels": {"a b": "x"}}),
        json!({"labels": {"a": "\n"}}),
    ] {
        let patched = rig.ask("PATCH", "/devices/truck", &admin, &body).await;
        assert_eq!(patched.status, 422, "{body}");
        let mut new = body;
        new["id"] = json!("van");
        let made = rig.ask("POST", "/devices", &admin, &new).await;
        assert_eq!(made.status, 422, "{new}");
    }
}
