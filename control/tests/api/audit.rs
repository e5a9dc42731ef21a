//! What requests leave in the audit trail, and what is read of it.

use std::time::Duration;

use laneway_store::audit::Verifier;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{Rig, rig, rig_with};

laneway_testkit::on_both_databases!(
    what_a_key_does_is_in_its_tenants_trail_with_what_it_did_it_to,
    denials_across_tenants_are_in_the_trail_of_who_was_denied_and_in_no_others,
    a_flood_of_denials_is_counted_and_not_written_one_by_one,
    what_the_operator_does_for_a_tenant_is_in_that_tenants_trail,
    what_is_done_outside_of_the_database_is_recorded_before_and_after,
    the_trail_is_exported_whole_and_verifies_by_itself,
    a_tenant_reads_its_own_trail_alone_with_the_grant_for_it,
    requests_beyond_a_keys_rate_are_told_when_to_come_again,
);

async fn trail(rig: &Rig, tenant: &str, query: &str) -> Vec<Value> {
    let path = format!("/tenants/{tenant}/audit?limit=1000{query}");
    let answer = rig.operate("GET", &path, &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["items"].as_array().unwrap().clone()
}

/// Action and outcome of each entry.
fn told<'a>(entries: &'a [Value]) -> Vec<(&'a str, &'a str)> {
    let text = |e: &'a Value, name: &str| e[name].as_str().unwrap_or_default();
    entries
        .iter()
        .map(|e| (text(e, "action"), text(e, "outcome")))
        .collect()
}

async fn exported(rig: &Rig, tenant: &str) -> String {
    let path = format!("/tenants/{tenant}/audit/export");
    rig.operate_text("GET", &path).await
}

fn verified(export: &str) -> i64 {
    let mut verifier = Verifier::new(None);
    for line in export.lines() {
        verifier.line(line).unwrap();
    }
    verifier.finish().unwrap().entries
}

async fn what_a_key_does_is_in_its_tenants_trail_with_what_it_did_it_to(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["tenant:admin"]).await;
    let made = rig
        .ask("POST", "/devices", &key, &json!({"id": "truck"}))
        .await;
    assert_eq!(made.status, 201);
    let secret = json!({"kind": "token"});
    let made = rig
        .ask("POST", "/devices/truck/credentials", &key, &secret)
        .await;
    assert_eq!(made.status, 201);
    let token = made.body["token"].as_str().unwrap().to_owned();
    let again = rig
        .ask("POST", "/devices", &key, &json!({"id": "truck"}))
        .await;
    assert_eq!(again.status, 409);
    assert_eq!(
        rig.ask("GET", "/devices", &key, &Value::Null).await.status,
        200
    );
    let entries = trail(&rig, "acme", "").await;
    assert_eq!(
        told(&entries),
        [
            ("POST /tenants", "done"),
            ("POST /tenants/{tenant}/keys", "done"),
            ("POST /devices", "done"),
            ("POST /devices/{device}/credentials", "done"),
            ("POST /devices", "409 conflict"),
        ]
    );
    let [.., device, credential, _] = entries.as_slice() else {
        panic!()
    };
    let whose = trail(&rig, "acme", "").await[0]["request_tenant"].clone();
    assert_eq!(device["detail"]["changes"][0]["id"], "truck");
    assert_eq!(credential["target"], "device=truck");
    assert_eq!(credential["address"], "127.0.0.1");
    assert_eq!(
        (&device["principal_tenant"], &device["request_tenant"]),
        (&whose, &whose)
    );
    let principal = device["principal"].as_str().unwrap();
    assert!(principal.starts_with("key:key_"), "{principal}");
    let request = device["request_id"].as_str().unwrap();
    assert!(request.len() == 32 && device["request_id"] != credential["request_id"]);
    assert!(!exported(&rig, "acme").await.contains(&token), "a secret");
    let found = trail(&rig, "acme", &format!("&principal={principal}")).await;
    assert_eq!(found.len(), 3);
    let found = trail(&rig, "acme", "&action=POST%20%2Fdevices").await;
    assert_eq!(found.len(), 2);
    let none = trail(&rig, "acme", "&until=2001-01-01T00:00:00Z").await;
    assert!(none.is_empty());
}

async fn denials_across_tenants_are_in_the_trail_of_who_was_denied_and_in_no_others(
    database: Database,
) {
    let rig = rig(database).await;
    let mine = rig.tenant("mine", &["tenant:admin"]).await;
    rig.tenant("theirs", &["tenant:admin"]).await;
    let before = trail(&rig, "theirs", "").await.len();
    for name in ["theirs", "nobody"] {
        let path = format!("/tenants/{name}/devices");
        let answer = rig.ask("GET", &path, &mine, &Value::Null).await;
        assert_eq!(answer.status, 403);
    }
    let answer = rig.ask("GET", "/operator/lag", &mine, &Value::Null).await;
    assert_eq!(answer.status, 403);
    let entries = trail(&rig, "mine", "").await;
    let denied: Vec<&Value> = entries
        .iter()
        .filter(|e| e["outcome"].as_str().unwrap().starts_with("403"))
        .collect();
    assert_eq!(denied.len(), 3, "{entries:#?}");
    assert_eq!(denied[0]["request_tenant"], "theirs");
    assert_eq!(denied[1]["request_tenant"], "nobody");
    assert_eq!(denied[1]["action"], "GET /tenants/{tenant}/devices");
    assert_eq!(denied[2]["action"], "GET /operator/lag");
    assert_eq!(trail(&rig, "theirs", "").await.len(), before);
}

async fn a_flood_of_denials_is_counted_and_not_written_one_by_one(database: Database) {
    let rig = rig(database).await;
    let mine = rig.tenant("mine", &["tenant:admin"]).await;
    for n in 0..60 {
        let path = format!("/tenants/name-{}/devices", n % 30);
        let answer = rig.ask("GET", &path, &mine, &Value::Null).await;
        assert_eq!(answer.status, 403);
    }
    let entries = trail(&rig, "mine", "").await;
    let denied = told(&entries).len() - 2;
    assert!((16..20).contains(&denied), "{denied} entries");
}

async fn what_the_operator_does_for_a_tenant_is_in_that_tenants_trail(database: Database) {
    let rig = rig(database).await;
    let admin = rig.tenant("acme", &["tenant:admin"]).await;
    let operator = rig.operator_key().await;
    let suspended = json!({"state": "suspended"});
    let active = json!({"state": "active"});
    let path = "/tenants/acme/state";
    assert_eq!(
        rig.ask("PUT", path, &operator, &suspended).await.status,
        200
    );
    assert_eq!(rig.operate("PUT", path, &active).await.status, 200);
    let entries = trail(&rig, "acme", "").await;
    let [.., by_key, by_socket] = entries.as_slice() else {
        panic!()
    };
    let platform = trail(&rig, "platform", "").await;
    let platform_id = &platform[0]["request_tenant"];
    assert_eq!(&by_key["principal_tenant"], platform_id);
    assert_ne!(&by_key["request_tenant"], platform_id);
    assert!(by_key["principal"].as_str().unwrap().starts_with("key:"));
    assert_eq!(by_key["address"], "127.0.0.1");
    assert_eq!(by_socket["principal"], "operator");
    // Where the operator's people are is not the tenant's to know.
    let own = rig
        .ask("GET", "/audit?limit=1000", &admin, &Value::Null)
        .await;
    let seen = own.body["items"].as_array().unwrap();
    let seen = seen.iter().find(|e| e["seq"] == by_key["seq"]).unwrap();
    assert_eq!(seen["hash"], by_key["hash"]);
    assert_eq!(seen["address"], Value::Null);
}

async fn what_is_done_outside_of_the_database_is_recorded_before_and_after(database: Database) {
    let rig = rig(database).await;
    let nothing = json!({});
    let rotated = rig
        .operate("POST", "/operator/secrets/rotate", &nothing)
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let backup = rig.operate("POST", "/operator/backup", &nothing).await;
    assert_eq!(backup.status, 409, "nothing to back up here");
    let entries = trail(&rig, "platform", "").await;
    let rotations: Vec<_> = told(&entries)
        .into_iter()
        .filter(|(action, _)| action.starts_with("POST /operator/"))
        .collect();
    assert_eq!(
        rotations,
        [
            ("POST /operator/secrets/rotate", "begun"),
            ("POST /operator/secrets/rotate", "200"),
            ("POST /operator/backup", "409 conflict"),
        ]
    );
}

async fn the_trail_is_exported_whole_and_verifies_by_itself(database: Database) {
    let rig = rig(database).await;
    let key = rig.tenant("acme", &["tenant:admin"]).await;
    // More than are read at a time.
    let tenant = trail(&rig, "acme", "").await[0]["request_tenant"].clone();
    let scope = laneway_tenancy::control::RoleAuthority::for_role("test")
        .scope(tenant.as_str().unwrap().parse().unwrap());
    for n in 0..600 {
        let id = format!("truck-{n}").parse().unwrap();
        rig.store.devices(&scope).create(&id, n).await.unwrap();
    }
    let export = exported(&rig, "acme").await;
    // That it is exported is in it by the time the second page is read.
    assert_eq!(verified(&export), 603);
    let own = rig.ask_text("GET", "/audit/export", &key).await;
    assert_eq!(verified(&own), 604);
    let last: Value = serde_json::from_str(export.lines().last().unwrap()).unwrap();
    assert_eq!(last["action"], "GET /tenants/{tenant}/audit/export");
    let forged = export.replacen("truck-17\\\"", "truck-18\\\"", 1);
    assert_ne!(forged, export);
    let mut verifier = Verifier::new(None);
    assert!(forged.lines().any(|line| verifier.line(line).is_err()));
}

async fn a_tenant_reads_its_own_trail_alone_with_the_grant_for_it(database: Database) {
    let rig = rig(database).await;
    rig.tenant("theirs", &["tenant:admin"]).await;
    let small = rig.tenant("mine", &["devices:write", "tenant:read"]).await;
    let reader = rig.key("mine", &["audit:read"]).await;
    for path in ["/audit", "/audit/export"] {
        assert_eq!(rig.ask("GET", path, &small, &Value::Null).await.status, 403);
        let of_theirs = format!("/tenants/theirs{path}");
        let answer = rig.ask("GET", &of_theirs, &reader, &Value::Null).await;
        assert!([403, 404].contains(&answer.status), "{}", answer.body);
    }
    let own = rig.ask("GET", "/audit", &reader, &Value::Null).await;
    assert_eq!(own.status, 200);
    let theirs = trail(&rig, "theirs", "").await[0]["hash"].clone();
    assert!(!own.body.to_string().contains(theirs.as_str().unwrap()));
    // Page by page it is the same.
    let mut paged = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let path = format!("/audit?limit=2&after={after}");
        let page = rig.ask("GET", &path, &reader, &Value::Null).await;
        paged.extend(page.body["items"].as_array().unwrap().clone());
        match page.body["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let whole = own.body["items"].as_array().unwrap();
    assert_eq!(&paged[..whole.len()], whole.as_slice());
}

async fn requests_beyond_a_keys_rate_are_told_when_to_come_again(database: Database) {
    let rig = rig_with(database, |settings| settings.key_requests_per_second = 2).await;
    let first = rig.tenant("first", &["devices:read"]).await;
    let second = rig.tenant("second", &["devices:read"]).await;
    let mut refused = None;
    for _ in 0..20 {
        let answer = rig.ask("GET", "/devices", &first, &Value::Null).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("twenty at once are more than four");
    assert_eq!(
        (refused.status, &refused.body["type"]),
        (429, &json!("https://laneway.dev/problems/rate-limited"))
    );
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    let other = rig.ask("GET", "/devices", &second, &Value::Null).await;
    assert_eq!(other.status, 200);
    until("its turn", Duration::from_secs(20), || async {
        let answer = rig.ask("GET", "/devices", &first, &Value::Null).await;
        answer.status == 200
    })
    .await
    .unwrap();
}
