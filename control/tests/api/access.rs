//! Every route of the description, without credentials and with too small ones.

use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Rig, rig};

laneway_testkit::on_both_databases!(
    no_route_answers_without_credentials,
    no_route_answers_to_a_key_without_its_grant,
    a_tenant_does_not_reach_another_through_the_operators_routes,
    a_suspended_tenant_is_refused_at_once,
);

/// (method, path) of every route, its parameters filled in.
fn routes(tenant: &str) -> Vec<(String, String)> {
    let api: Value = serde_json::from_str(&laneway_control::openapi_json().unwrap()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        let path = path
            .replace("{tenant}", tenant)
            .replace("{device}", "truck")
            .replace("{credential}", "crd_00000000000000000000000001")
            .replace("{account}", "svc_00000000000000000000000001")
            .replace("{key}", "key_00000000000000000000000001")
            .replace("{provisioning_key}", "pvk_00000000000000000000000001")
            .replace("{destination}", "dst_00000000000000000000000001")
            .replace("{grant}", "grt_00000000000000000000000001")
            .replace("{host}", "tracks.acme.example")
            .replace("{subject}", "s")
            .replace("{version}", "1")
            .replace("{id}", "1");
        for method in item.as_object().unwrap().keys() {
            routes.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(routes.len() > 40, "{} routes", routes.len());
    routes
}

async fn no_route_answers_without_credentials(database: Database) {
    let rig = rig(database).await;
    rig.tenant("acme", &["tenant:admin"]).await;
    let unknown = "Bearer lwk_000000000000000000000000000000000000000000000";
    for (method, path) in routes("acme") {
        for credentials in ["", unknown, "Basic eDp5", "Nonsense"] {
            let answer = rig.ask(&method, &path, credentials, &json!({})).await;
            assert_eq!(
                answer.status, 401,
                "{method} {path} with {credentials:?}: {}",
                answer.body
            );
            assert!(answer.head.contains("www-authenticate"), "{method} {path}");
        }
    }
}

async fn no_route_answers_to_a_key_without_its_grant(database: Database) {
    let rig = rig(database).await;
    let small = rig.tenant("acme", &["stream:read"]).await;
    for (method, path) in routes("acme") {
        let reads_registry = method == "GET"
            || path.starts_with("/registry/compatibility")
            || (method == "POST" && path == "/registry/subjects/s");
        if path.starts_with("/registry") && reads_registry {
            continue;
        }
        if path == "/enrol" {
            // No key of an API is a provisioning key.
            let answer = rig.ask(&method, &path, &small, &json!({})).await;
            assert_eq!(answer.status, 401);
            continue;
        }
        let answer = rig.ask(&method, &path, &small, &json!({})).await;
        // A body that is not valid is refused before, by those that need one.
        let refused = [400, 403].contains(&answer.status);
        assert!(
            refused,
            "{method} {path}: {} {}",
            answer.status, answer.body
        );
    }
}

async fn a_tenant_does_not_reach_another_through_the_operators_routes(database: Database) {
    let rig = rig(database).await;
    let mine = rig
        .tenant("mine", &["tenant:admin", "positions:read"])
        .await;
    rig.tenant("theirs", &["tenant:admin"]).await;
    let created = rig
        .operate("POST", "/tenants/theirs/devices", &json!({"id": "truck"}))
        .await;
    assert_eq!(created.status, 201);
    for name in ["theirs", "nobody", "platform"] {
        let answer = rig
            .ask(
                "GET",
                &format!("/tenants/{name}/devices"),
                &mine,
                &Value::Null,
            )
            .await;
        assert_eq!(answer.status, 403, "{name}");
    }
    for path in ["/devices/truck", "/devices/none", "/devices/truck/position"] {
        assert_eq!(
            rig.ask("GET", path, &mine, &Value::Null).await.status,
            404,
            "{path}"
        );
    }
    let credential = json!({"kind": "token"});
    let answer = rig
        .ask("POST", "/devices/truck/credentials", &mine, &credential)
        .await;
    assert_eq!(answer.status, 404);
    let grab = json!({"name": "x", "grants": ["operator"]});
    assert_eq!(rig.ask("POST", "/keys", &mine, &grab).await.status, 422);
}

async fn a_suspended_tenant_is_refused_at_once(database: Database) {
    let rig: Rig = rig(database).await;
    let key = rig.tenant("acme", &["tenant:admin"]).await;
    assert_eq!(
        rig.ask("GET", "/devices", &key, &Value::Null).await.status,
        200
    );
    let suspended = rig
        .operate("PUT", "/tenants/acme/state", &json!({"state": "suspended"}))
        .await;
    assert_eq!(suspended.status, 200);
    let refused = rig.ask("GET", "/devices", &key, &Value::Null).await;
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (403, &json!("https://laneway.dev/problems/tenant-inactive"))
    );
    rig.operate("PUT", "/tenants/acme/state", &json!({"state": "active"}))
        .await;
    assert_eq!(
        rig.ask("GET", "/devices", &key, &Value::Null).await.status,
        200
    );
    let platform = rig
        .operate(
            "PUT",
            "/tenants/platform/state",
            &json!({"state": "closing"}),
        )
        .await;
    assert_eq!(platform.status, 409);
}
