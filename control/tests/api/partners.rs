//! Partners, and what tenants grant to them.

use std::time::Duration;

use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Answer, Rig, bearer, rig};

laneway_testkit::on_both_databases!(
    a_grant_is_listed_by_both_sides_told_to_all_and_revoked_by_its_tenant,
    a_grant_that_cannot_be_is_refused_with_a_reason,
    a_partners_keys_look_after_the_partner_and_nothing_else,
    a_partner_that_is_closed_has_no_grants_left_and_its_tenants_hear_of_it,
);

const FOR_EVER: &str = "2199-01-01T00:00:00Z";

async fn partner(rig: &Rig, slug: &str) -> String {
    let body = json!({"slug": slug, "name": "A partner", "owner": "Pat"});
    let made = rig.operate("POST", "/partners", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["kind"], "partner");
    bearer(&made.body["owner"]["key"])
}

async fn grant(rig: &Rig, key: &str, partner: &str) -> Answer {
    let body = json!({
        "partner": partner, "name": "yard", "event_types": ["laneway.position"],
        "devices": ["truck"], "expires_at": FOR_EVER,
    });
    rig.ask("POST", "/grants", key, &body).await
}

async fn items(rig: &Rig, path: &str, key: &str) -> Vec<Value> {
    let answer = rig.ask("GET", path, key, &Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body["items"].as_array().unwrap().clone()
}

async fn a_grant_is_listed_by_both_sides_told_to_all_and_revoked_by_its_tenant(database: Database) {
    let rig = rig(database).await;
    let logistics = partner(&rig, "logistics").await;
    let stranger = partner(&rig, "stranger").await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let globex = rig.tenant("globex", &["tenant:admin"]).await;
    for slug in ["logistics", "acme", "globex"] {
        rig.heard(slug, |_| true).await;
    }
    let one = grant(&rig, &acme, "logistics").await;
    assert_eq!(one.status, 201, "{}", one.body);
    let two = grant(&rig, &globex, "logistics").await;
    let id = one.body["id"].as_str().unwrap().to_owned();
    assert_eq!(one.body["partner"]["slug"], "logistics");
    assert_eq!(one.body["tenant"]["slug"], "acme");
    assert_eq!(one.body["state"], "active");
    assert_eq!(one.body["expires_at"], FOR_EVER);

    let listed = items(&rig, "/grants", &acme).await;
    assert_eq!(listed, std::slice::from_ref(&one.body));
    let granted = items(&rig, "/partner/grants", &logistics).await;
    assert_eq!(granted, [one.body.clone(), two.body.clone()]);
    assert_eq!(
        items(&rig, "/partner/grants?limit=1", &logistics)
            .await
            .len(),
        1
    );
    assert_eq!(items(&rig, "/partner/grants", &stranger).await.len(), 0);
    let no_partner = rig.ask("GET", "/partner/grants", &acme, &Value::Null).await;
    assert_eq!(no_partner.status, 403);
    let path = format!("/grants/{id}");
    for (key, status) in [(&acme, 200), (&globex, 404), (&logistics, 404)] {
        let found = rig.ask("GET", &path, key, &Value::Null).await;
        assert_eq!(found.status, status, "{}", found.body);
    }
    let parsed = id.parse().unwrap();
    let bound = Duration::from_secs(20);
    until("news of the grant", bound, || async {
        rig.directory.grant(parsed).is_some()
    })
    .await
    .unwrap();

    for (key, status) in [
        (&globex, 404),
        (&logistics, 403),
        (&acme, 204),
        (&acme, 404),
    ] {
        let revoked = rig.ask("DELETE", &path, key, &Value::Null).await;
        assert_eq!(revoked.status, status, "{}", revoked.body);
    }
    until("its end", bound, || async {
        rig.directory.grant(parsed).is_none()
    })
    .await
    .unwrap();
    assert_eq!(items(&rig, "/partner/grants", &logistics).await, [two.body]);

    let trail = rig
        .operate("GET", "/tenants/acme/audit", &Value::Null)
        .await;
    let actions: Vec<&str> = trail.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert!(actions.contains(&"POST /grants"), "{actions:?}");
    assert!(actions.contains(&"DELETE /grants/{grant}"), "{actions:?}");
}

async fn a_grant_that_cannot_be_is_refused_with_a_reason(database: Database) {
    let rig = rig(database).await;
    partner(&rig, "logistics").await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    rig.tenant("globex", &["tenant:admin"]).await;
    let good = json!({
        "partner": "logistics", "event_types": ["laneway.position"], "expires_at": FOR_EVER,
    });
    let many: Vec<String> = (0..1001).map(|n| format!("d-{n}")).collect();
    for (field, value, status) in [
        ("partner", json!("nobody"), 422),
        ("partner", json!("globex"), 422),
        ("partner", json!("ten_00000000000000000000000000"), 422),
        ("event_types", json!([]), 422),
        ("event_types", json!(["laneway.nothing"]), 422),
        ("event_types", json!("laneway.position"), 400),
        ("devices", json!(["a/b"]), 422),
        ("devices", json!(many), 422),
        ("expires_at", json!("2020-01-01T00:00:00Z"), 422),
        ("expires_at", json!("tomorrow"), 422),
        ("expires_at", json!(null), 400),
        ("name", json!("x".repeat(101)), 422),
        ("colour", json!("red"), 400),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = rig.ask("POST", "/grants", &acme, &body).await;
        assert_eq!(refused.status, status, "{field} {value}: {}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(field) || status == 400, "{field}: {detail}");
    }
    assert_eq!(rig.ask("POST", "/grants", &acme, &good).await.status, 201);
    let by_partner = rig
        .operate("POST", "/tenants/logistics/grants", &good)
        .await;
    assert_eq!(by_partner.status, 409, "{}", by_partner.body);
    for body in [
        json!({"slug": "acme"}),
        json!({"slug": "admin"}),
        json!({"slug": "1"}),
    ] {
        let refused = rig.operate("POST", "/partners", &body).await;
        assert!([409, 422].contains(&refused.status), "{body}");
    }
    let partners = rig.operate("GET", "/partners", &Value::Null).await;
    assert_eq!(partners.body["items"].as_array().unwrap().len(), 1);
    let theirs = rig.ask("GET", "/partners", &acme, &Value::Null).await;
    assert_eq!(theirs.status, 403, "the operator's");
}

async fn a_partners_keys_look_after_the_partner_and_nothing_else(database: Database) {
    let rig = rig(database).await;
    let owner = partner(&rig, "logistics").await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let granted = grant(&rig, &acme, "logistics").await;
    assert_eq!(granted.status, 201, "{}", granted.body);
    for (method, path, body) in [
        ("POST", "/devices", json!({"id": "truck"})),
        ("GET", "/devices", Value::Null),
        (
            "POST",
            "/destinations",
            json!({"kind": "webhook", "url": "https://example.com"}),
        ),
        ("POST", "/namespaces", json!({"project": "fleet"})),
        (
            "POST",
            "/tenants/logistics/tenants",
            json!({"slug": "below"}),
        ),
        (
            "POST",
            "/grants",
            json!({
                "partner": "logistics", "event_types": ["laneway.position"], "expires_at": FOR_EVER,
            }),
        ),
        ("GET", "/tenants/acme", Value::Null),
        ("GET", "/tenants/acme/devices", Value::Null),
        ("GET", "/tenants/acme/grants", Value::Null),
        ("GET", "/t/acme/tenant", Value::Null),
        ("GET", "/devices/truck/position", Value::Null),
    ] {
        let refused = rig.ask(method, path, &owner, &body).await;
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.body);
    }
    let more = json!({"name": "more", "grants": ["devices:write"]});
    assert_eq!(rig.ask("POST", "/keys", &owner, &more).await.status, 403);
    let reader = json!({"name": "reader", "grants": ["stream:read"]});
    let reader = rig.ask("POST", "/keys", &owner, &reader).await;
    assert_eq!(reader.status, 201, "{}", reader.body);
    let own = rig.ask("GET", "/tenant", &owner, &Value::Null).await;
    assert_eq!(own.body["kind"], "partner");
    // Of a key that the operator made for it, no more either.
    let strong = rig
        .key("logistics", &["devices:write", "location:write"])
        .await;
    let refused = rig
        .ask("POST", "/devices", &strong, &json!({"id": "truck"}))
        .await;
    assert_eq!(refused.status, 403);
    let who = rig.who(&strong).await.unwrap();
    assert_eq!(who.scope.grants(), laneway_tenancy::Grants::NONE);
}

async fn a_partner_that_is_closed_has_no_grants_left_and_its_tenants_hear_of_it(
    database: Database,
) {
    let rig = rig(database).await;
    let owner = partner(&rig, "logistics").await;
    let acme = rig.tenant("acme", &["tenant:admin"]).await;
    let granted = grant(&rig, &acme, "logistics").await;
    let id = granted.body["id"].as_str().unwrap().parse().unwrap();
    let closing = json!({"state": "closing"});
    let closed = rig
        .ask("PUT", "/tenants/logistics/state", &owner, &closing)
        .await;
    assert_eq!(closed.status, 200, "{}", closed.body);
    until("the closure", Duration::from_secs(30), || async {
        let path = "/tenants/logistics/closure";
        let closure = rig.operate("GET", path, &Value::Null).await;
        !closure.body["closed_at"].is_null()
    })
    .await
    .unwrap();
    assert_eq!(items(&rig, "/grants", &acme).await.len(), 0);
    until("news of it", Duration::from_secs(20), || async {
        rig.directory.grant(id).is_none() && rig.directory.is_caught_up()
    })
    .await
    .unwrap();
    let again = grant(&rig, &acme, "logistics").await;
    assert_eq!(again.status, 422, "{}", again.body);
}
