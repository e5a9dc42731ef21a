//! How settings are changed and things are created: based on what was read, by whom, and once.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{bearer, rig};

laneway_testkit::on_both_databases!(
    a_change_based_on_an_older_version_is_refused,
    configuration_is_a_namespaces_own,
    a_key_gives_no_more_than_its_maker_may,
    a_creation_that_is_asked_for_again_is_not_made_again,
);

async fn a_change_based_on_an_older_version_is_refused(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let read = rig.ask("GET", "/tenants/acme", &acme, &Value::Null).await;
    let tag = read
        .head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let change = |tag: String, name: &'static str| {
        let (rig, acme) = (&rig, &acme);
        async move {
            let header = format!("if-match: {tag}\r\n");
            let body = json!({ "name": name });
            rig.ask_with("PUT", "/tenants/acme", acme, &header, &body)
                .await
        }
    };
    assert_eq!(change(tag.clone(), "Acme Ltd").await.status, 200);
    let stale = change(tag, "Acme Inc").await;
    assert_eq!(
        (stale.status, &stale.body["type"]),
        (412, &json!("https://laneway.dev/problems/changed"))
    );
    assert_eq!(change("*".to_owned(), "Acme Inc").await.status, 200);
    let plan = rig
        .ask("PUT", "/tenants/acme", &acme, &json!({"plan": "gold"}))
        .await;
    assert_eq!(plan.status, 403, "the operator's to change");
    for options in [
        json!({"cors_origins": ["nowhere"]}),
        json!({"ip_allow": ["10.0.0.0/99"]}),
    ] {
        let refused = rig
            .ask(
                "PUT",
                "/tenants/acme",
                &acme,
                &json!({ "options": options }),
            )
            .await;
        assert_eq!(refused.status, 422, "{options}: {}", refused.body);
    }
}

async fn configuration_is_a_namespaces_own(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let eve = rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    let set = rig
        .ask("PUT", "/config/units", &acme, &json!({"speed": "km/h"}))
        .await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(rig.get("/config/units", &eve).await.0, 404);
    let theirs = rig.ask("PUT", "/config/units", &eve, &json!("mph")).await;
    assert_eq!(theirs.status, 200, "the same key in another namespace");
    let (_, own) = rig.get("/tenant", &acme).await;
    assert_eq!(own["config"], json!({"units": {"speed": "km/h"}}));
    let stale = rig
        .ask_with(
            "PUT",
            "/config/units",
            &acme,
            "if-match: \"7\"\r\n",
            &json!(1),
        )
        .await;
    assert_eq!(stale.status, 412);
    let bad = rig.ask("PUT", "/config/a%20b", &acme, &json!(1)).await;
    assert_eq!(bad.status, 422);
    let large = rig
        .ask("PUT", "/config/large", &acme, &json!("x".repeat(20_000)))
        .await;
    assert_eq!(large.status, 422);
    for status in [204, 404] {
        let gone = rig
            .ask("DELETE", "/config/units", &acme, &Value::Null)
            .await;
        assert_eq!(gone.status, status);
    }
    assert_eq!(rig.get("/config/units", &eve).await.0, 200);
}

async fn a_key_gives_no_more_than_its_maker_may(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let make = |key: String, body: Value| {
        let rig = &rig;
        async move { rig.ask("POST", "/keys", &key, &body).await }
    };
    let admin = make(acme.clone(), json!({"name": "a", "role": "admin"})).await;
    assert_eq!(admin.status, 201, "{}", admin.body);
    let admin = bearer(&admin.body["key"]);
    for (body, status) in [
        (json!({"name": "o", "role": "owner"}), 403),
        (json!({"name": "o", "grants": ["tenant:own"]}), 403),
        (json!({"name": "o", "grants": ["operator"]}), 422),
        (json!({"name": "o", "role": "king"}), 422),
        (
            json!({"name": "o", "role": "viewer", "grants": ["keys:write"]}),
            422,
        ),
        (
            json!({"name": "o", "role": "developer", "grants": ["devices:write"]}),
            201,
        ),
    ] {
        let made = make(admin.clone(), body.clone()).await;
        assert_eq!(made.status, status, "{body}: {}", made.body);
    }
}

async fn a_creation_that_is_asked_for_again_is_not_made_again(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let eve = rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    let make = |key: String, path: &'static str, body: Value| {
        let rig = &rig;
        async move {
            let header = "idempotency-key: 7\r\n";
            rig.ask_with("POST", path, &key, header, &body).await
        }
    };
    let body = json!({"name": "k", "grants": ["stream:read"]});
    let first = make(acme.clone(), "/keys", body.clone()).await;
    let again = make(acme.clone(), "/keys", body.clone()).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body, "the secret too");
    assert!(again.head.contains("idempotency-replayed: true"));
    let (_, keys) = rig.get("/keys", &acme).await;
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);
    let other = make(
        acme.clone(),
        "/keys",
        json!({"name": "l", "grants": ["stream:read"]}),
    )
    .await;
    assert_eq!(other.status, 422, "{}", other.body);
    let elsewhere = make(eve, "/keys", body).await;
    assert_ne!(
        elsewhere.body["id"], first.body["id"],
        "a key is its tenant's own"
    );

    let fails = |header: &'static str| {
        let (rig, acme) = (&rig, &acme);
        async move {
            let body = json!({"id": "truck"});
            rig.ask_with("POST", "/devices", acme, header, &body).await
        }
    };
    rig.ask("POST", "/devices", &acme, &json!({"id": "truck"}))
        .await;
    assert_eq!(fails("idempotency-key: 8\r\n").await.status, 409);
    rig.ask("DELETE", "/devices/truck", &acme, &Value::Null)
        .await;
    assert_eq!(
        fails("idempotency-key: 8\r\n").await.status,
        201,
        "a failure is not kept"
    );
    let long = format!("idempotency-key: {}\r\n", "x".repeat(201));
    let refused = rig
        .ask_with("POST", "/keys", &acme, &long, &json!({}))
        .await;
    assert_eq!(refused.status, 400);
}
