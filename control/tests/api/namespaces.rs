//! What is below a tenant, worked in by its own keys under the names of what is below.

use laneway_control::ControlSettings;
use laneway_tenancy::hosts::HostSettings;
use laneway_testkit::Database;
use serde_json::{Value, json};

use crate::support::{Rig, bearer, rig_below_a_domain as rig, rig_named};

laneway_testkit::on_both_databases!(
    a_tenants_keys_work_in_its_namespaces_by_path_and_by_host,
    nobody_but_its_tenant_enters_a_namespace,
    a_tenants_tenant_is_read_by_name_where_it_lets_itself_be,
    all_tenants_share_one_namespace_and_manage_nothing_of_it,
    the_namespace_that_all_share_has_the_name_that_is_configured,
);

/// A tenant with the namespace `fleet`, known everywhere; its owner's key.
async fn with_fleet(rig: &Rig, slug: &str) -> String {
    let body = json!({"slug": slug, "owner": "Ada"});
    let made = rig.operate("POST", "/tenants", &body).await;
    let key = bearer(&made.body["owner"]["key"]);
    let fleet = json!({"project": "fleet"});
    let made = rig.ask("POST", "/namespaces", &key, &fleet).await;
    assert_eq!(made.status, 201, "{}", made.body);
    rig.heard(&format!("{slug}--fleet"), |_| true).await;
    key
}

async fn a_tenants_keys_work_in_its_namespaces_by_path_and_by_host(database: Database) {
    let rig = rig(database).await;
    let acme = with_fleet(&rig, "acme").await;
    let truck = json!({"id": "truck"});
    let made = rig
        .ask("POST", "/t/acme--fleet/devices", &acme, &truck)
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let get = ("GET", "/devices/truck");
    let host = "acme--fleet.tenants.example";
    let found = rig.ask_host(host, get, &acme, &Value::Null).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let same = rig.ask(
        "GET",
        "/tenants/acme--fleet/devices/truck",
        &acme,
        &Value::Null,
    );
    assert_eq!(same.await.body, found.body);
    let home = rig.ask("GET", "/devices/truck", &acme, &Value::Null).await;
    assert_eq!(home.status, 404, "not the tenant's own");
    let own = rig
        .ask("GET", "/t/acme--fleet/tenant", &acme, &Value::Null)
        .await;
    assert_eq!(own.body["slug"], "acme--fleet");
    // Its change is in the namespace's own trail, as the tenant's key's.
    let trail = rig
        .ask("GET", "/t/acme--fleet/audit", &acme, &Value::Null)
        .await;
    let mut entries = trail.body["items"].as_array().unwrap().iter();
    let made = entries.find(|entry| entry["action"] == "POST /devices");
    let by = &made.unwrap()["principal_tenant"];
    let home = rig.directory_id("acme").await;
    assert_eq!(by, &json!(home), "{}", trail.body);
    let suspended = json!({"state": "suspended"});
    let path = "/tenants/acme--fleet/state";
    assert_eq!(rig.ask("PUT", path, &acme, &suspended).await.status, 200);
    let active = |t: &laneway_directory::TenantEntry| {
        t.body.state == laneway_tenancy::control::TenantState::Active
    };
    rig.heard("acme--fleet", |t| !active(t)).await;
    let refused = rig
        .ask("GET", "/t/acme--fleet/devices", &acme, &Value::Null)
        .await;
    let kind = "https://laneway.dev/problems/tenant-inactive";
    assert_eq!((refused.status, &refused.body["type"]), (403, &json!(kind)));
}

async fn nobody_but_its_tenant_enters_a_namespace(database: Database) {
    let rig = rig(database).await;
    let acme = with_fleet(&rig, "acme").await;
    let globex = with_fleet(&rig, "globex").await;
    let operator = rig.operator_key().await;
    let inner = json!({"name": "inner", "role": "owner"});
    let inner = rig.ask("POST", "/t/acme--fleet/keys", &acme, &inner).await;
    let inner = bearer(&inner.body["key"]);
    rig.ask("POST", "/devices", &acme, &json!({"id": "truck"}))
        .await;
    let token = json!({"kind": "token"});
    let made = rig
        .ask("POST", "/devices/truck/credentials", &acme, &token)
        .await;
    let device = bearer(&made.body["token"]);
    let mut answers = Vec::new();
    for (key, path) in [
        (&globex, "/t/acme--fleet/tenant"),
        (&globex, "/t/acme/tenant"),
        (&globex, "/t/nobody/tenant"),
        (&acme, "/t/globex--fleet/tenant"),
        (&inner, "/t/acme/tenant"),
        (&inner, "/t/globex--fleet/tenant"),
        (&operator, "/t/acme--fleet/tenant"),
        (&device, "/t/acme--fleet/tenant"),
    ] {
        let refused = rig.ask("GET", path, key, &Value::Null).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
        answers.push(refused.body);
    }
    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");
    let own = rig
        .ask("GET", "/t/acme--fleet/tenant", &inner, &Value::Null)
        .await;
    assert_eq!(own.status, 200);
}

async fn a_tenants_tenant_is_read_by_name_where_it_lets_itself_be(database: Database) {
    let rig = rig(database).await;
    let acme = with_fleet(&rig, "acme").await;
    let shop = json!({"slug": "corner-shop", "owner": "Bo"});
    let made = rig.ask("POST", "/tenants/acme/tenants", &acme, &shop).await;
    let shop = bearer(&made.body["owner"]["key"]);
    rig.heard("corner-shop", |_| true).await;
    let ask = |path: &'static str| rig.ask("GET", path, &acme, &Value::Null);
    let position = "/t/corner-shop/devices/truck/position";
    let refused = ask(position).await;
    let mismatch = json!("https://laneway.dev/problems/tenant-mismatch");
    assert_eq!((refused.status, &refused.body["type"]), (403, &mismatch));
    let opens = json!({"options": {"parent_may_read": true}});
    let path = "/tenants/corner-shop";
    assert_eq!(rig.ask("PUT", path, &shop, &opens).await.status, 200);
    rig.heard("corner-shop", |t| t.body.options.parent_may_read)
        .await;
    assert_eq!(
        ask(position).await.status,
        404,
        "no such device, but it may look"
    );
    let devices = ask("/t/corner-shop/devices").await;
    let forbidden = json!("https://laneway.dev/problems/forbidden");
    assert_eq!((devices.status, &devices.body["type"]), (403, &forbidden));
}

async fn all_tenants_share_one_namespace_and_manage_nothing_of_it(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let eve = rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    rig.heard("default", |_| true).await;
    let made = rig
        .ask("POST", "/t/default/devices", &acme, &json!({"id": "buoy"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    for path in ["/tenants/default/devices/buoy", "/t/default/devices/buoy"] {
        assert_eq!(rig.get(path, &eve).await.0, 200, "{path}");
    }
    assert_eq!(rig.get("/devices/buoy", &acme).await.0, 404, "not its own");
    for (method, path) in [
        ("GET", "/tenants/default"),
        ("GET", "/tenants/default/keys"),
        ("GET", "/tenants/default/destinations"),
        ("GET", "/tenants/default/audit"),
        ("PUT", "/tenants/default/state"),
        ("GET", "/t/default/config"),
    ] {
        let body = json!({"state": "closing"});
        let refused = rig.ask(method, path, &acme, &body).await;
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.body);
    }
    let body = json!({"state": "closing"});
    let closing = rig.operate("PUT", "/tenants/default/state", &body).await;
    assert_eq!(closing.status, 409, "{}", closing.body);
    let partner = json!({"slug": "weather", "owner": "Pat"});
    let partner = rig.operate("POST", "/partners", &partner).await;
    let partner = bearer(&partner.body["owner"]["key"]);
    assert_eq!(rig.get("/t/default/devices", &partner).await.0, 403);
    let trail = rig
        .operate("GET", "/tenants/default/audit", &Value::Null)
        .await;
    let entries = trail.body["items"].as_array().unwrap();
    let by = entries
        .iter()
        .find(|e| e["action"] == "POST /devices")
        .unwrap();
    assert_eq!(by["principal_tenant"], rig.directory_id("acme").await);
}

async fn the_namespace_that_all_share_has_the_name_that_is_configured(database: Database) {
    let hosts = HostSettings {
        default_namespace: "commons".to_owned(),
        ..HostSettings::default()
    };
    let rig = rig_named(database, ControlSettings::default(), hosts).await;
    let acme = rig.acme().await;
    rig.heard("commons", |_| true).await;
    let buoy = json!({"id": "buoy"});
    let made = rig.ask("POST", "/t/commons/devices", &acme, &buoy).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(rig.get("/t/default/devices", &acme).await.0, 403);
    let taken = json!({"slug": "commons"});
    let refused = rig.operate("POST", "/tenants", &taken).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
}
