//! Authentication is off: everything is one namespace, and no route asks for more.

use laneway_tenancy::OperatorScope;
use laneway_tenancy::control::RoleAuthority;
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, rig, rig_unguarded};

laneway_testkit::on_both_databases!(
    anyone_does_everything_in_the_one_namespace,
    there_are_no_tenants_but_the_one_namespace,
    pages_ask_from_the_server_itself_or_from_an_origin_that_the_namespace_names,
    customers_are_counted_and_the_platforms_own_are_not,
);

fn problem(answer: &Answer) -> (u16, &str) {
    let kind = answer.body["type"].as_str().unwrap_or_default();
    (answer.status, kind.rsplit('/').next().unwrap_or_default())
}

async fn anyone_does_everything_in_the_one_namespace(database: Database) {
    let rig = rig_unguarded(database).await;
    rig.heard("default", |_| true).await;
    let buoy = json!({"id": "buoy"});
    let made = rig.ask("POST", "/devices", "", &buoy).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let enrols = json!({"device_id": "drone", "hardware": {"serial": "S-1"}});
    let enrolled = rig.ask("POST", "/enrol", "", &enrols).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.body);
    assert_eq!(enrolled.body["tenant"], "default");
    let again = rig.ask("POST", "/enrol", "", &enrols).await;
    assert_eq!(again.status, 409, "{}", again.body);
    let (_, drone) = rig.get("/devices/drone", "").await;
    assert_eq!(drone["labels"], json!({"serial": "S-1"}));
    for path in [
        "/devices/buoy",
        "/t/default/devices/buoy",
        "/tenants/default/devices/buoy",
        "/tenant",
        "/keys",
        "/destinations",
        "/hosts",
        "/config",
        "/registry/subjects",
        // The operator's.
        "/tenants",
        "/tenants/default",
        "/operator/lag",
    ] {
        for authorization in ["", "Bearer lwk_nonsense", "Basic nonsense"] {
            let (status, body) = rig.get(path, authorization).await;
            assert_eq!(status, 200, "{path} {authorization}: {body}");
        }
    }
    let (status, trail) = rig.get("/audit", "").await;
    assert_eq!(status, 200, "{trail}");
    let entries = trail["items"].as_array().unwrap();
    let made = entries.iter().find(|e| e["action"] == "POST /devices");
    assert_eq!(made.unwrap()["principal"], "anyone", "{trail}");
}

async fn there_are_no_tenants_but_the_one_namespace(database: Database) {
    let rig = rig_unguarded(database).await;
    rig.heard("platform", |_| true).await;
    let tenant = json!({"slug": "acme"});
    for (path, body) in [
        ("/tenants", &tenant),
        ("/partners", &tenant),
        ("/tenants/default/tenants", &tenant),
        ("/admin/tenants", &json!({"tenant_id": "acme", "hosts": []})),
        ("/namespaces", &json!({"project": "fleet"})),
        ("/operator/keys", &json!({"name": "for later"})),
    ] {
        let refused = rig.ask("POST", path, "", body).await;
        assert_eq!(problem(&refused), (409, "authentication-off"), "{path}");
    }
    let refused = rig.operate("POST", "/tenants", &tenant).await;
    assert_eq!(problem(&refused), (409, "authentication-off"));
    for (path, answer) in [
        ("/tenants/platform", (403, "tenant-mismatch")),
        ("/tenants/platform/keys", (403, "tenant-mismatch")),
        ("/tenants/nobody", (403, "tenant-mismatch")),
        ("/t/platform/keys", (403, "tenant-mismatch")),
        ("/t/nobody/keys", (404, "tenant-not-found")),
    ] {
        let refused = rig.ask("GET", path, "", &Value::Null).await;
        assert_eq!(problem(&refused), answer, "{path}");
    }
}

/// Asks as a page of the origin would.
async fn from_page(rig: &Rig, method: &str, origin: &str) -> Answer {
    let origin = format!("origin: {origin}\r\n");
    rig.ask_with(method, "/devices", "", &origin, &json!({"id": "buoy"}))
        .await
}

async fn pages_ask_from_the_server_itself_or_from_an_origin_that_the_namespace_names(
    database: Database,
) {
    let rig = rig_unguarded(database).await;
    let evil = "https://evil.example";
    for method in ["GET", "POST"] {
        let refused = from_page(&rig, method, evil).await;
        assert_eq!(problem(&refused), (403, "origin-not-allowed"), "{method}");
    }
    assert_eq!(
        from_page(&rig, "POST", "http://localhost").await.status,
        201
    );
    // Its own name leads here: what it asks for looks like the server's own.
    let rebound = "origin: http://evil.example\r\n";
    for headers in ["", rebound] {
        let headers = format!("host: evil.example\r\n{headers}");
        let refused = rig.ask_with("GET", "/devices", "", &headers, &Value::Null);
        assert_eq!(problem(&refused.await), (404, "tenant-not-found"));
    }
    let console = "https://console.example";
    let names = json!({"options": {"cors_origins": [console]}});
    let named = rig.ask("PUT", "/tenants/default", "", &names).await;
    assert_eq!(named.status, 200, "{}", named.body);
    rig.heard("default", |t| !t.body.options.cors_origins.is_empty())
        .await;
    let read = from_page(&rig, "GET", console).await;
    assert_eq!(read.status, 200, "{}", read.body);
    assert!(read.head.contains(console), "{}", read.head);
    assert_eq!(from_page(&rig, "GET", evil).await.status, 403);
}

async fn customers_are_counted_and_the_platforms_own_are_not(database: Database) {
    let rig = rig(database).await;
    let operator = OperatorScope::of_role(&RoleAuthority::for_role("test"));
    let count = async || {
        rig.store
            .tenants(&operator)
            .count_customers()
            .await
            .unwrap()
    };
    assert_eq!(count().await, 0);
    let acme = rig.acme().await;
    rig.below("acme", &acme, "corner-shop").await;
    let partner = json!({"slug": "weather"});
    let made = rig.operate("POST", "/partners", &partner).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(count().await, 3);
}
