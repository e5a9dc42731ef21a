//! Tenants below tenants, namespaces, and what each may of the others.

use std::time::Duration;

use laneway_tenancy::control::TenantState;
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use serde_json::{Value, json};

use crate::support::{bearer, rig};

laneway_testkit::on_both_databases!(
    a_tenant_gives_its_tenants_a_part_of_its_limits,
    a_tenant_below_is_managed_but_not_seen_into,
    nobody_learns_of_tenants_elsewhere,
    a_namespace_is_worked_in_with_the_tenants_own_keys,
    what_is_below_a_suspended_tenant_is_held_with_it,
    a_renamed_tenant_is_found_by_its_former_slug,
    a_closed_tenant_is_erased_with_all_that_is_below_it,
);

async fn a_tenant_gives_its_tenants_a_part_of_its_limits(database: Database) {
    let rig = rig(database).await;
    let limits = json!({"devices": 10, "events_per_second": 100});
    let acme = rig
        .owned(json!({"slug": "acme", "owner": "Ada", "limits": limits}))
        .await;
    let below = |slug: &str, devices: u32| json!({"slug": slug, "limits": {"devices": devices, "events_per_second": 30}});
    for (slug, devices, status) in [
        ("one", 4, 201),
        ("two", 5, 201),
        ("three", 1, 409),
        ("four", 0, 409),
    ] {
        let made = rig
            .ask(
                "POST",
                "/tenants/acme/tenants",
                &acme,
                &below(slug, devices),
            )
            .await;
        assert_eq!(made.status, status, "{slug}: {}", made.body);
    }
    let (_, own) = rig.get("/tenant", &acme).await;
    assert_eq!(
        (&own["limits"]["devices"], &own["own_limits"]["devices"]),
        (&json!(10), &json!(1))
    );
    assert_eq!(own["own_limits"]["events_per_second"], 40);
    // Every role hears what is left.
    rig.heard("acme", |entry| entry.body.limits.devices == 1)
        .await;

    let raise = json!({"devices": 5, "events_per_second": 30});
    let refused = rig.ask("PUT", "/tenants/one/limits", &acme, &raise).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let lower = json!({"devices": 2, "events_per_second": 30});
    let lowered = rig.ask("PUT", "/tenants/one/limits", &acme, &lower).await;
    assert_eq!(lowered.status, 200, "{}", lowered.body);
    let (_, own) = rig.get("/tenant", &acme).await;
    assert_eq!(own["own_limits"]["devices"], 3);
    let too_few = json!({"devices": 7, "events_per_second": 100});
    let refused = rig.operate("PUT", "/tenants/acme/limits", &too_few).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let itself = rig.ask("PUT", "/tenants/acme/limits", &acme, &raise).await;
    assert_eq!(itself.status, 403);
}

async fn a_tenant_below_is_managed_but_not_seen_into(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let shop = rig.below("acme", &acme, "shop").await;
    assert_eq!(rig.get("/tenants/shop", &acme).await.0, 200);
    assert_eq!(rig.get("/tenants/shop/devices", &acme).await.0, 403);
    let position = "/tenants/shop/devices/truck/position";
    assert_eq!(rig.get(position, &acme).await.0, 403);
    let open = json!({"options": {"parent_may_read": true}});
    let by_parent = rig.ask("PUT", "/tenants/shop", &acme, &open).await;
    assert_eq!(by_parent.status, 403, "only the tenant itself allows it");
    let by_itself = rig.ask("PUT", "/tenants/shop", &shop, &open).await;
    assert_eq!(by_itself.status, 200, "{}", by_itself.body);
    assert_eq!(rig.get(position, &acme).await.0, 404, "no position yet");
    assert_eq!(rig.get("/tenants/shop/devices", &acme).await.0, 403);
    assert_eq!(rig.get("/tenants/acme", &shop).await.0, 403);
    let deeper = rig
        .ask(
            "POST",
            "/tenants/shop/tenants",
            &shop,
            &json!({"slug": "stall"}),
        )
        .await;
    assert_eq!(deeper.status, 409, "one level down");
}

async fn nobody_learns_of_tenants_elsewhere(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    for slug in ["one", "two"] {
        rig.below("acme", &acme, slug).await;
    }
    rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    let key = rig.key("one", &["tenant:admin"]).await;
    let mut answers = Vec::new();
    for name in [
        "two",
        "acme",
        "globex",
        "platform",
        "nobody",
        "ten_00000000000000000000000001",
    ] {
        for (method, path) in [
            ("GET", format!("/tenants/{name}")),
            ("PUT", format!("/tenants/{name}/state")),
            ("GET", format!("/tenants/{name}/devices")),
            ("GET", format!("/tenants/{name}/tenants")),
        ] {
            let body = match method {
                "PUT" => json!({"state": "suspended"}),
                _ => Value::Null,
            };
            let answer = rig.ask(method, &path, &key, &body).await;
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.body);
            let head: Vec<&str> = answer
                .head
                .lines()
                .filter(|l| !l.starts_with("date") && !l.starts_with("x-request-id"))
                .collect();
            answers.push((head.join("\n"), answer.body.to_string()));
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

async fn a_namespace_is_worked_in_with_the_tenants_own_keys(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let eve = rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    for (environment, status) in [
        (json!(null), 201),
        (json!("dev"), 201),
        (json!("test"), 422),
    ] {
        let body = json!({"project": "fleet", "environment": environment});
        let made = rig.ask("POST", "/namespaces", &acme, &body).await;
        assert_eq!(made.status, status, "{}", made.body);
    }
    let (_, listed) = rig.get("/namespaces", &acme).await;
    let slugs: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["slug"])
        .collect();
    assert_eq!(slugs, ["acme--fleet", "acme--fleet--dev"]);
    let dev = "/tenants/acme--fleet--dev/devices";
    for path in ["/devices", dev] {
        let made = rig.ask("POST", path, &acme, &json!({"id": "truck"})).await;
        assert_eq!(made.status, 201, "the same id in two namespaces: {path}");
    }
    assert_eq!(rig.get(&format!("{dev}/truck"), &acme).await.0, 200);
    assert_eq!(rig.get(dev, &eve).await.0, 403);
    let viewer = rig
        .ask(
            "POST",
            "/keys",
            &acme,
            &json!({"name": "v", "role": "viewer"}),
        )
        .await;
    let viewer = bearer(&viewer.body["key"]);
    assert_eq!(rig.get(dev, &viewer).await.0, 200);
    let refused = rig.ask("POST", dev, &viewer, &json!({"id": "van"})).await;
    assert_eq!(refused.status, 403, "no more rights than at home");
    let inner = rig
        .ask(
            "POST",
            "/tenants/acme--fleet/namespaces",
            &acme,
            &json!({"project": "inner"}),
        )
        .await;
    assert_eq!(inner.status, 409, "{}", inner.body);
}

async fn what_is_below_a_suspended_tenant_is_held_with_it(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let shop = rig.below("acme", &acme, "shop").await;
    let state = |state: &str| json!({"state": state});
    rig.operate("PUT", "/tenants/acme/state", &state("suspended"))
        .await;
    rig.heard("shop", |entry| entry.body.state == TenantState::Suspended)
        .await;
    rig.until_status("/tenant", &shop, 403).await;
    let activated = rig
        .operate("PUT", "/tenants/shop/state", &state("active"))
        .await;
    assert_eq!(
        activated.body["state"], "suspended",
        "while the one above is"
    );
    rig.operate("PUT", "/tenants/acme/state", &state("active"))
        .await;
    rig.until_status("/tenant", &shop, 200).await;
    let itself = rig
        .ask("PUT", "/tenants/acme/state", &acme, &state("suspended"))
        .await;
    assert_eq!(itself.status, 403, "a tenant closes itself, no more");
    let suspended = rig
        .ask("PUT", "/tenants/shop/state", &acme, &state("suspended"))
        .await;
    assert_eq!(suspended.status, 200, "{}", suspended.body);
    rig.until_status("/tenant", &shop, 403).await;
}

async fn a_renamed_tenant_is_found_by_its_former_slug(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    rig.ask("POST", "/namespaces", &acme, &json!({"project": "fleet"}))
        .await;
    for (slug, status) in [("admin", 409), ("Acme", 422), ("emca", 200)] {
        let renamed = rig
            .ask("PUT", "/tenants/acme/slug", &acme, &json!({"slug": slug}))
            .await;
        assert_eq!(renamed.status, status, "{slug}: {}", renamed.body);
    }
    let found = rig.operate("GET", "/tenants/acme", &Value::Null).await;
    assert_eq!(found.body["slug"], "emca");
    let fleet = rig
        .operate("GET", "/tenants/emca--fleet", &Value::Null)
        .await;
    assert_eq!(fleet.status, 200, "its namespaces go by its name");
    for slug in ["acme", "acrne", "emca"] {
        let taken = rig
            .operate("POST", "/tenants", &json!({"slug": slug}))
            .await;
        assert_eq!(taken.status, 409, "{slug}");
    }
    let back = rig
        .operate("PUT", "/tenants/emca/slug", &json!({"slug": "acme"}))
        .await;
    assert_eq!(
        back.status, 200,
        "its own former slug is its own: {}",
        back.body
    );
}

async fn a_closed_tenant_is_erased_with_all_that_is_below_it(database: Database) {
    let rig = rig(database).await;
    let acme = rig.acme().await;
    let stays = rig.owned(json!({"slug": "globex", "owner": "Eve"})).await;
    rig.ask("POST", "/namespaces", &acme, &json!({"project": "fleet"}))
        .await;
    for (key, path) in [
        (&acme, "/devices"),
        (&acme, "/tenants/acme--fleet/devices"),
        (&stays, "/devices"),
    ] {
        let made = rig.ask("POST", path, key, &json!({"id": "truck"})).await;
        assert_eq!(made.status, 201, "{path}");
    }
    let hook = json!({"kind": "webhook", "url": "https://example.com/hook"});
    assert_eq!(
        rig.ask("POST", "/destinations", &acme, &hook).await.status,
        201
    );
    rig.ask("PUT", "/config/units", &acme, &json!("km")).await;
    let id = rig.directory_id("acme").await;

    let closing = rig
        .ask(
            "PUT",
            "/tenants/acme/state",
            &acme,
            &json!({"state": "closing"}),
        )
        .await;
    assert_eq!(closing.status, 200, "{}", closing.body);
    rig.until_status("/tenant", &acme, 403).await;
    until("the closure", Duration::from_secs(30), || async {
        let closure = rig
            .operate("GET", "/tenants/acme/closure", &Value::Null)
            .await;
        !closure.body["closed_at"].is_null()
    })
    .await
    .unwrap();
    let closure = rig
        .operate("GET", "/tenants/acme/closure", &Value::Null)
        .await
        .body;
    let count = |what: &str| {
        let erased = closure["erased"].as_array().unwrap().iter();
        erased
            .filter(|e| e["what"] == what)
            .map(|e| e["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(count("destinations"), 1);
    assert!(
        count("rows") >= 3 && count("tenant-events") >= 3,
        "{closure}"
    );
    rig.heard("acme--fleet", |t| t.body.state == TenantState::Closed)
        .await;
    rig.heard("acme", |t| t.body.state == TenantState::Closed)
        .await;
    assert_eq!(rig.keys_left(&id).await, [format!("{id}/tenant/{id}")]);
    let reopened = rig
        .operate("PUT", "/tenants/acme/state", &json!({"state": "active"}))
        .await;
    assert_eq!(reopened.status, 409);
    assert_eq!(rig.get("/devices/truck", &stays).await.0, 200);
}
