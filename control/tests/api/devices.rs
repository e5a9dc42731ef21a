//! A tenant's own: devices, credentials, keys and destinations.

use base64::Engine;
use laneway_store::{PositionRow, ProjectionBatch};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{AuthError, Principal};
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{bearer, rig};

laneway_testkit::on_both_databases!(
    a_device_gets_a_token_that_works_until_it_is_revoked,
    a_device_logs_in_with_its_password_until_there_is_a_new_one,
    keys_carry_their_grants_until_they_are_deleted,
    a_destination_shows_its_secret_once,
    what_is_not_valid_is_refused_with_a_reason,
    the_latest_position_is_answered_as_it_was_written,
);

async fn a_device_gets_a_token_that_works_until_it_is_revoked(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let device = rig
        .ask("POST", "/devices", &admin, &json!({"id": "truck"}))
        .await;
    assert_eq!((device.status, &device.body["id"]), (201, &json!("truck")));
    assert_eq!(
        rig.ask("POST", "/devices", &admin, &json!({"id": "truck"}))
            .await
            .status,
        409
    );
    let path = "/devices/truck/credentials";
    let made = rig
        .ask("POST", path, &admin, &json!({"kind": "token"}))
        .await;
    assert_eq!(made.status, 201);
    let token = bearer(&made.body["token"]);
    let caller = rig
        .authenticator
        .authenticate(Some(token.as_bytes()), None)
        .await
        .unwrap();
    assert_eq!(
        caller.scope.principal(),
        &Principal::Device("truck".parse().unwrap())
    );
    assert_eq!(
        rig.ask("GET", "/devices", &token, &Value::Null)
            .await
            .status,
        403,
        "a device manages nothing"
    );
    let listed = rig.ask("GET", path, &admin, &Value::Null).await;
    assert_eq!(listed.body["items"][0]["id"], made.body["id"]);
    assert!(!listed.body.to_string().contains("lwd_"));
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(
        rig.ask("DELETE", &format!("{path}/{id}"), &admin, &Value::Null)
            .await
            .status,
        204
    );
    let refused = rig
        .authenticator
        .authenticate(Some(token.as_bytes()), None)
        .await
        .unwrap_err();
    assert_eq!(refused, AuthError::Invalid);
    assert_eq!(
        rig.ask("DELETE", "/devices/truck", &admin, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        rig.ask("DELETE", "/devices/truck", &admin, &Value::Null)
            .await
            .status,
        404
    );
}

async fn a_device_logs_in_with_its_password_until_there_is_a_new_one(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    rig.ask("POST", "/devices", &admin, &json!({"id": "truck"}))
        .await;
    let set = async |password: &str| {
        let body = json!({"kind": "password", "password": password});
        rig.ask("POST", "/devices/truck/credentials", &admin, &body)
            .await
    };
    let login = async |password: &str| {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(format!("truck@acme:{password}"));
        rig.authenticator
            .authenticate(Some(format!("Basic {encoded}").as_bytes()), None)
            .await
            .map(drop)
    };
    assert_eq!(set("short").await.status, 422);
    let made = set("the first password").await;
    assert_eq!(
        (made.status, &made.body["login"]),
        (201, &json!("truck@acme"))
    );
    assert_eq!(login("the first password").await, Ok(()));
    assert_eq!(set("the second password").await.status, 201);
    assert_eq!(login("the first password").await, Err(AuthError::Invalid));
    assert_eq!(login("the second password").await, Ok(()));
}

async fn keys_carry_their_grants_until_they_are_deleted(database: Database) {
    let rig = rig(database).await;
    let admin = rig
        .tenant("acme", &["tenant:admin", "stream:read", "positions:read"])
        .await;
    let body = json!({"name": "reader", "grants": ["stream:read", "positions:read"]});
    let made = rig.ask("POST", "/keys", &admin, &body).await;
    assert_eq!(made.status, 201);
    let reader = bearer(&made.body["key"]);
    assert_eq!(
        rig.ask("GET", "/devices/truck/position", &reader, &Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        rig.ask("GET", "/keys", &reader, &Value::Null).await.status,
        403
    );
    let listed = rig.ask("GET", "/keys?limit=1", &admin, &Value::Null).await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    let next = listed.body["next"].as_str().unwrap();
    let rest = rig
        .ask(
            "GET",
            &format!("/keys?limit=10&after={next}"),
            &admin,
            &Value::Null,
        )
        .await;
    assert_eq!(rest.body["items"][0]["id"], made.body["id"]);
    assert!(!rest.body.to_string().contains("lwk_"));
    let path = format!("/keys/{}", made.body["id"].as_str().unwrap());
    assert_eq!(
        rig.ask("DELETE", &path, &admin, &Value::Null).await.status,
        204
    );
    assert_eq!(
        rig.ask("GET", "/devices/truck/position", &reader, &Value::Null)
            .await
            .status,
        401
    );
}

async fn a_destination_shows_its_secret_once(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let body = json!({"kind": "webhook", "url": "https://example.com/hook", "event_types": ["laneway.position"]});
    let made = rig.ask("POST", "/destinations", &admin, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(made.body["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/destinations/{}", made.body["id"].as_str().unwrap());
    let found = rig.ask("GET", &path, &admin, &Value::Null).await;
    assert_eq!(found.body.get("secret"), None);
    assert_eq!(found.body["state"], "active");
    let off = rig
        .ask("PATCH", &path, &admin, &json!({"state": "disabled"}))
        .await;
    assert_eq!((off.status, &off.body["state"]), (200, &json!("disabled")));
    assert_eq!(
        rig.ask("DELETE", &path, &admin, &Value::Null).await.status,
        204
    );
    assert_eq!(
        rig.ask("GET", &path, &admin, &Value::Null).await.status,
        404
    );
}

async fn what_is_not_valid_is_refused_with_a_reason(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin", "stream:read"]).await;
    let cases = [
        ("/devices", json!({"id": "a/b"}), 422),
        ("/devices", json!({"id": "a", "colour": "red"}), 400),
        ("/devices", json!({}), 400),
        ("/devices", json!({"id": 7}), 400),
        ("/keys", json!({"name": "", "grants": ["stream:read"]}), 422),
        ("/keys", json!({"name": "x", "grants": []}), 422),
        (
            "/destinations",
            json!({"kind": "webhook", "url": "http://example.com"}),
            422,
        ),
        (
            "/destinations",
            json!({"kind": "smoke", "url": "https://example.com"}),
            400,
        ),
        (
            "/destinations",
            json!({"kind": "webhook", "url": "https://example.com", "event_types": ["x"]}),
            422,
        ),
    ];
    for (path, body, status) in cases {
        let answer = rig.ask("POST", path, &admin, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(answer.head.contains("application/problem+json"));
        assert!(!answer.body["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        rig.ask("GET", "/keys?limit=x", &admin, &Value::Null)
            .await
            .status,
        400
    );
    assert_eq!(
        rig.ask("GET", "/nothing", &admin, &Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        rig.ask("PUT", "/devices", &admin, &Value::Null)
            .await
            .status,
        405
    );
    assert_eq!(
        rig.ask("DELETE", "/keys/nonsense", &admin, &Value::Null)
            .await
            .status,
        404
    );
}

async fn the_latest_position_is_answered_as_it_was_written(database: Database) {
    let rig = rig(database).await;
    let reader = rig.tenant("acme", &["positions:read"]).await;
    let other = rig.tenant("other", &["positions:read"]).await;
    let tenant = rig
        .authenticator
        .authenticate(Some(reader.as_bytes()), None)
        .await
        .unwrap()
        .tenant
        .id;
    let row = PositionRow {
        tenant,
        device: "truck".parse().unwrap(),
        recorded_at: 5,
        received_at: 6,
        fix_id: "f".into(),
        revision: 0,
        body: r#"{"latitude":52.5,"longitude":13.4}"#.into(),
    };
    let batch = ProjectionBatch {
        generation: 1,
        to_offset: 1,
        positions: vec![row],
        ..Default::default()
    };
    rig.store
        .project(&RoleAuthority::for_role("test"), batch)
        .await
        .unwrap();
    let found = rig
        .ask("GET", "/devices/truck/position", &reader, &Value::Null)
        .await;
    assert_eq!(
        (found.status, found.body),
        (200, json!({"latitude": 52.5, "longitude": 13.4}))
    );
    assert_eq!(
        rig.ask("GET", "/devices/truck/position", &other, &Value::Null)
            .await
            .status,
        404
    );
}
