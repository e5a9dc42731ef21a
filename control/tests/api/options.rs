//! What a tenant sets for its callers, enforced.

use std::time::Duration;

use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    credentials_are_taken_from_the_tenants_networks_alone,
    pages_read_the_answers_of_tenants_that_name_their_origin,
);

const PAGE: &str = "https://app.acme.example";

async fn set(rig: &Rig, slug: &str, options: Value) {
    let body = json!({ "options": options });
    let set = rig.operate("PUT", &format!("/tenants/{slug}"), &body).await;
    assert_eq!(set.status, 200, "{}", set.body);
}

async fn credentials_are_taken_from_the_tenants_networks_alone(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let other = rig.tenant("other", &["devices:read"]).await;
    let body = json!({"name": "line", "pattern": "*"});
    let made = rig.ask("POST", "/provisioning-keys", &owner, &body).await;
    let provisioning = bearer(&made.body["key"]);
    let body = json!({"project": "fleet"});
    rig.ask("POST", "/namespaces", &owner, &body).await;
    rig.until_status("/devices", &owner, 200).await;

    set(
        &rig,
        "acme",
        json!({"ip_allow": ["10.0.0.0/8", "2001:db8::1"]}),
    )
    .await;
    rig.until_status("/devices", &owner, 403).await;
    let refused = rig.ask("GET", "/devices", &owner, &Value::Null).await;
    assert_eq!(
        refused.body["type"],
        "https://laneway.dev/problems/address-not-allowed"
    );
    // No proxy is trusted here: nobody is believed to come from elsewhere.
    let header = "x-forwarded-for: 10.0.0.1\r\n";
    let claimed = rig.ask_with("GET", "/devices", &owner, header, &Value::Null);
    assert_eq!(claimed.await.status, 403);
    let device = json!({"device_id": "truck"});
    let enrolled = rig.ask("POST", "/enrol", &provisioning, &device).await;
    assert_eq!(
        (enrolled.status, &enrolled.body["type"]),
        (403, &refused.body["type"])
    );
    let unharmed = rig.ask("GET", "/devices", &other, &Value::Null).await;
    assert_eq!(unharmed.status, 200, "another tenant's are as before");
    let trail = rig
        .operate("GET", "/tenants/acme/audit?limit=100", &Value::Null)
        .await;
    let outcome = "403 address-not-allowed";
    let items = trail.body["items"].as_array().unwrap();
    let found = items.iter().find(|entry| entry["outcome"] == outcome);
    let action = &found.expect("an entry")["action"];
    assert_eq!(action, "GET /devices");

    set(&rig, "acme", json!({"ip_allow": ["127.0.0.0/8"]})).await;
    rig.until_status("/devices", &owner, 200).await;
    // A namespace has networks of its own.
    set(&rig, "acme--fleet", json!({"ip_allow": ["10.0.0.0/8"]})).await;
    rig.until_status("/tenants/acme--fleet/devices", &owner, 403)
        .await;
    assert_eq!(
        rig.ask("GET", "/devices", &owner, &Value::Null)
            .await
            .status,
        200
    );
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let name = format!("{name}: ");
    answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix(name.as_str()))
}

async fn pages_read_the_answers_of_tenants_that_name_their_origin(database: Database) {
    let rig = rig(database).await;
    let owner = rig.acme().await;
    let other = rig.tenant("other", &["devices:read"]).await;
    let from = |origin: &str| format!("origin: {origin}\r\n");
    let preflight = |path: &'static str, origin: &'static str| {
        let (rig, headers) = (
            &rig,
            from(origin) + "access-control-request-method: PATCH\r\n",
        );
        async move {
            rig.ask_with("OPTIONS", path, "", &headers, &Value::Null)
                .await
        }
    };
    let allowed = "access-control-allow-origin";
    for path in ["/devices", "/t/acme/devices"] {
        let denied = preflight(path, PAGE).await;
        assert_eq!((denied.status, header(&denied, allowed)), (403, None));
    }
    set(&rig, "acme", json!({"cors_origins": [PAGE]})).await;
    until("the origin to be known", Duration::from_secs(5), || async {
        preflight("/devices", PAGE).await.status == 204
    })
    .await
    .unwrap();
    for (path, origin, status) in [
        ("/t/acme/devices", PAGE, 204),
        ("/t/acme/devices", "https://evil.example", 403),
        ("/devices", "https://evil.example", 403),
        ("/t/other/devices", PAGE, 403),
        ("/t/nobody/devices", PAGE, 403),
    ] {
        let answer = preflight(path, origin).await;
        assert_eq!(answer.status, status, "{path} {origin}");
        let expected = (status == 204).then_some(origin);
        assert_eq!(header(&answer, allowed), expected);
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
    }
    for (key, origin, readable) in [
        (&owner, PAGE, true),
        (&owner, "https://evil.example", false),
        (&other, PAGE, false),
    ] {
        let headers = from(origin);
        let answer = rig
            .ask_with("GET", "/devices", key, &headers, &Value::Null)
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            header(&answer, allowed),
            readable.then_some(origin),
            "{origin}"
        );
        assert_eq!(header(&answer, "vary"), Some("origin"));
    }
    let plain = rig.ask("GET", "/devices", &owner, &Value::Null).await;
    assert_eq!(
        (header(&plain, allowed), header(&plain, "vary")),
        (None, None)
    );
    set(&rig, "acme", json!({"cors_origins": []})).await;
    until(
        "the origin to be forgotten",
        Duration::from_secs(5),
        || async { preflight("/t/acme/devices", PAGE).await.status == 403 },
    )
    .await
    .unwrap();
}
