//! Devices that enrol themselves over HTTP.

use laneway_tenancy::Principal;
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    a_device_enrols_itself_and_sends_with_its_own_token,
    a_provisioning_key_is_shown_once_and_lets_nobody_in_when_it_is_revoked,
    a_lost_answer_is_asked_for_again_with_the_proof,
    an_enrolment_from_elsewhere_is_in_the_tenants_trail,
);

async fn key(rig: &Rig, admin: &str, body: &Value) -> Answer {
    let made = rig.ask("POST", "/provisioning-keys", admin, body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made
}

async fn a_device_enrols_itself_and_sends_with_its_own_token(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let terms = json!({"name": "line 3", "pattern": "truck-*", "group": "north", "labels": {"line": "3"}, "max_uses": 1});
    let provisioning = bearer(&key(&rig, &admin, &terms).await.body["key"]);
    let enrol = async |body: Value| rig.ask("POST", "/enrol", &provisioning, &body).await;
    let hardware = json!({"serial": "S-1"});
    let refused = enrol(json!({"device_id": "van-1"})).await;
    let kind = "https://laneway.dev/problems/not-enrolled";
    assert_eq!((refused.status, &refused.body["type"]), (403, &json!(kind)));
    let made = enrol(json!({"device_id": "truck-1", "hardware": hardware})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        (&made.body["device_id"], &made.body["tenant"]),
        (&json!("truck-1"), &json!("acme"))
    );
    let caller = rig.who(&bearer(&made.body["token"])).await.unwrap();
    assert_eq!(
        caller.scope.principal(),
        &Principal::Device("truck-1".parse().unwrap())
    );
    let shown = rig
        .ask("GET", "/devices/truck-1", &admin, &Value::Null)
        .await;
    assert_eq!(
        (
            &shown.body["group"],
            &shown.body["labels"],
            &shown.body["enrolment"]["hardware"]
        ),
        (&json!("north"), &json!({"line": "3"}), &hardware)
    );
    assert_eq!(enrol(json!({"device_id": "truck-1"})).await.status, 409);
    assert_eq!(enrol(json!({"device_id": "truck-2"})).await.status, 403);
    for body in [
        json!({"device_id": "a/b"}),
        json!({"device_id": "truck-3", "proof": "short"}),
        json!({"device_id": "truck-3", "hardware": {"a b": ""}}),
    ] {
        assert_eq!(enrol(body.clone()).await.status, 422, "{body}");
    }
}

async fn a_provisioning_key_is_shown_once_and_lets_nobody_in_when_it_is_revoked(
    database: Database,
) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let other = rig.tenant("other", &["tenant:admin"]).await;
    let made = key(&rig, &admin, &json!({"name": "all"})).await;
    let provisioning = bearer(&made.body["key"]);
    assert!(provisioning.starts_with("Bearer lwp_"));
    let body = json!({"device_id": "truck"});
    for (path, key) in [("/enrol", &admin), ("/devices", &provisioning)] {
        let refused = rig.ask("POST", path, key, &body).await;
        assert_eq!(refused.status, 401, "{path} takes the other kind of key");
    }
    let listed = rig
        .ask("GET", "/provisioning-keys", &admin, &Value::Null)
        .await;
    assert_eq!(listed.body["items"][0]["id"], made.body["id"]);
    assert!(!listed.body.to_string().contains("lwp_"));
    let path = format!("/provisioning-keys/{}", made.body["id"].as_str().unwrap());
    let foreign = rig.ask("DELETE", &path, &other, &Value::Null).await;
    assert_eq!(foreign.status, 404);
    let enrolled = rig.ask("POST", "/enrol", &provisioning, &body).await;
    assert_eq!(enrolled.status, 201);
    let gone = rig.ask("DELETE", &path, &admin, &Value::Null).await;
    assert_eq!(gone.status, 204);
    let refused = rig
        .ask(
            "POST",
            "/enrol",
            &provisioning,
            &json!({"device_id": "van"}),
        )
        .await;
    assert_eq!(refused.status, 401);
    let token = bearer(&enrolled.body["token"]);
    assert!(rig.who(&token).await.is_ok(), "who came in stays");
    for body in [
        json!({"name": ""}),
        json!({"name": "x", "pattern": ""}),
        json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "x", "group": "a b"}),
    ] {
        let refused = rig.ask("POST", "/provisioning-keys", &admin, &body).await;
        assert_eq!(refused.status, 422, "{body}");
    }
}

async fn a_lost_answer_is_asked_for_again_with_the_proof(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let made = key(&rig, &admin, &json!({"name": "all"})).await;
    let provisioning = bearer(&made.body["key"]);
    let enrol = async |proof: &str| {
        let body = json!({"device_id": "truck", "proof": proof});
        rig.ask("POST", "/enrol", &provisioning, &body).await
    };
    let first = enrol("a secret of the device").await;
    assert_eq!(first.status, 201);
    assert!(rig.who(&bearer(&first.body["token"])).await.is_ok());
    assert_eq!(enrol("a guess of someone else").await.status, 409);
    let again = enrol("a secret of the device").await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert!(rig.who(&bearer(&again.body["token"])).await.is_ok());
    assert!(
        rig.who(&bearer(&first.body["token"])).await.is_err(),
        "the token before has ended"
    );
    let listed = rig
        .ask("GET", "/provisioning-keys", &admin, &Value::Null)
        .await;
    assert_eq!(listed.body["items"][0]["uses"], 1);
}

async fn an_enrolment_from_elsewhere_is_in_the_tenants_trail(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let made = key(&rig, &admin, &json!({"name": "all"})).await;
    let provisioning = bearer(&made.body["key"]);
    let elsewhere = json!({"options": {"ip_allow": ["192.0.2.0/24"]}});
    let set = rig.operate("PUT", "/tenants/acme", &elsewhere).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let body = json!({"device_id": "truck"});
    let refused = rig.ask("POST", "/enrol", &provisioning, &body).await;
    let kind = "https://laneway.dev/problems/address-not-allowed";
    assert_eq!((refused.status, &refused.body["type"]), (403, &json!(kind)));
    let path = "/tenants/acme/audit?action=POST%20/enrol";
    let trail = rig.operate("GET", path, &Value::Null).await;
    let entries = trail.body["items"].as_array().unwrap();
    let by = format!("provisioning-key:{}", made.body["id"].as_str().unwrap());
    assert_eq!(entries.len(), 1, "{}", trail.body);
    assert_eq!(entries[0]["principal"], json!(by));
    assert_eq!(entries[0]["outcome"], "403 address-not-allowed");
    assert_eq!(entries[0]["address"], "127.0.0.1");
}
