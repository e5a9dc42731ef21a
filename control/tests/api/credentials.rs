//! Credentials for a time, and one after the other.

use base64::Engine;
use laneway_tenancy::AuthError;
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    two_passwords_work_while_the_one_gives_way_to_the_other,
    a_credential_that_has_not_begun_or_could_never_hold_is_not_taken,
);

const PATH: &str = "/devices/truck/credentials";

async fn truck(rig: &Rig) -> String {
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    rig.ask("POST", "/devices", &admin, &json!({"id": "truck"}))
        .await;
    admin
}

fn login(password: &str) -> String {
    let login = format!("truck@acme:{password}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(login);
    format!("Basic {encoded}")
}

async fn two_passwords_work_while_the_one_gives_way_to_the_other(database: Database) {
    let rig = rig(database).await;
    let admin = truck(&rig).await;
    let (first, second) = ("the first password", "the second password");
    let body = json!({"kind": "password", "password": first});
    assert_eq!(rig.ask("POST", PATH, &admin, &body).await.status, 201);
    assert!(rig.who(&login(first)).await.is_ok());
    let body =
        json!({"kind": "password", "password": second, "others_end": "2100-01-01T00:00:00Z"});
    assert_eq!(rig.ask("POST", PATH, &admin, &body).await.status, 201);
    assert!(rig.who(&login(first)).await.is_ok());
    assert!(rig.who(&login(second)).await.is_ok());
    let listed = rig.ask("GET", PATH, &admin, &Value::Null).await;
    let ends: Vec<&Value> = listed.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["expires_at"])
        .collect();
    assert_eq!(ends, [&json!("2100-01-01T00:00:00Z"), &Value::Null]);
    let id = listed.body["items"][0]["id"].as_str().unwrap();
    let path = format!("{PATH}/{id}");
    let gone = rig.ask("DELETE", &path, &admin, &Value::Null).await;
    assert_eq!(gone.status, 204);
    assert_eq!(rig.who(&login(first)).await.err(), Some(AuthError::Invalid));
    assert!(rig.who(&login(second)).await.is_ok());
}

async fn a_credential_that_has_not_begun_or_could_never_hold_is_not_taken(database: Database) {
    let rig = rig(database).await;
    let admin = truck(&rig).await;
    for body in [
        json!({"kind": "token", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"kind": "token", "not_before": "2100-01-01T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z"}),
        json!({"kind": "token", "not_before": "tomorrow"}),
    ] {
        let refused = rig.ask("POST", PATH, &admin, &body).await;
        assert_eq!(refused.status, 422, "{body}");
    }
    let body = json!({"kind": "token", "not_before": "2100-01-01T00:00:00Z"});
    let made = rig.ask("POST", PATH, &admin, &body).await;
    assert_eq!(made.status, 201);
    let refused = rig.who(&bearer(&made.body["token"])).await;
    assert_eq!(refused.err(), Some(AuthError::Invalid));
    // The password that there is goes on until the next one begins.
    for (password, not_before) in [
        ("the first password", None),
        ("the next password", Some("2100-01-01T00:00:00Z")),
    ] {
        let body = json!({"kind": "password", "password": password, "not_before": not_before});
        let made = rig.ask("POST", PATH, &admin, &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    assert!(rig.who(&login("the first password")).await.is_ok());
    let early = rig.who(&login("the next password")).await;
    assert_eq!(early.err(), Some(AuthError::Invalid));
}
