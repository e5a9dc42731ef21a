//! Databases beside the main one: chosen by the operator when a tenant is created.

use std::time::Duration;

use laneway_store::{CreationStep, First, NewTenant, ShardConfig};
use laneway_tenancy::{LocalSocket, OperatorScope, Placement, SystemRandom, TenantId, new_id};
use laneway_testkit::wait::until;
use laneway_testkit::{Database, EmptyDatabase};
use serde_json::{Value, json};

use crate::support::{Rig, bearer, rig_with_shards};

laneway_testkit::on_both_databases!(
    the_operator_chooses_a_tenants_database_and_nobody_else_sees_it,
    a_database_is_one_of_those_that_there_are_and_free,
    a_creation_that_is_asked_for_again_is_made_once,
    while_a_database_is_away_nothing_is_created_in_it,
    a_creation_that_was_interrupted_is_undone_and_its_slug_is_free,
);

/// With `eu` for many and `bank` for one, and what keeps them.
async fn sharded(database: Database) -> (Rig, [EmptyDatabase; 2]) {
    let (urls, kept) = database.named(["eu", "bank"]).await.unwrap();
    let shards = ShardConfig {
        urls,
        dedicated: ["bank".to_owned()].into(),
        ..ShardConfig::default()
    };
    (rig_with_shards(database, shards).await, kept)
}

async fn the_operator_chooses_a_tenants_database_and_nobody_else_sees_it(database: Database) {
    let (rig, _kept) = sharded(database).await;
    let new = json!({"slug": "acme", "database": "eu", "owner": "Ada"});
    let made = rig.operate("POST", "/tenants", &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["database"], "eu");
    let acme = bearer(&made.body["owner"]["key"]);
    let shown = rig.operate("GET", "/tenants/acme", &Value::Null).await;
    assert_eq!(shown.body["database"], "eu");
    for path in ["/tenants/acme", "/tenant"] {
        let (status, own) = rig.get(path, &acme).await;
        assert_eq!((status, own.get("database")), (200, None), "{path}");
    }
    let below = json!({"slug": "shop", "database": "main"});
    let refused = rig
        .ask("POST", "/tenants/acme/tenants", &acme, &below)
        .await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let elsewhere = rig.operate("POST", "/tenants/acme/tenants", &below).await;
    assert_eq!(elsewhere.status, 409, "{}", elsewhere.body);
    assert!(
        elsewhere.body["detail"]
            .as_str()
            .unwrap()
            .contains("which is eu")
    );
    let below = json!({"slug": "shop"});
    let made = rig.operate("POST", "/tenants/acme/tenants", &below).await;
    assert_eq!((made.status, &made.body["database"]), (201, &json!("eu")));

    let registration = json!({"tenant_id": "bank-of-x", "hosts": [], "database": "bank"});
    let made = rig.operate("POST", "/admin/tenants", &registration).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let listed = rig.operate("GET", "/tenants", &Value::Null).await;
    let items = listed.body["items"].as_array().unwrap();
    let of = |slug: &str| items.iter().find(|t| t["slug"] == slug).unwrap();
    assert_eq!(of("bank-of-x")["database"], "bank");
    assert_eq!(of("platform")["database"], "main");

    // It works as any other.
    let truck = json!({"id": "truck"});
    assert_eq!(rig.ask("POST", "/devices", &acme, &truck).await.status, 201);
    assert_eq!(rig.get("/devices/truck", &acme).await.0, 200);
    assert_eq!(rig.get("/devices/truck/position", &acme).await.0, 404);
    let erased = rig.ask("DELETE", "/devices/truck/personal", &acme, &Value::Null);
    assert_eq!(erased.await.status, 200);
}

async fn a_database_is_one_of_those_that_there_are_and_free(database: Database) {
    let (rig, _kept) = sharded(database).await;
    let create = async |slug: &str, name: &str| {
        let new = json!({"slug": slug, "database": name});
        rig.operate("POST", "/tenants", &new).await.status
    };
    assert_eq!(create("acme", "mars").await, 422);
    assert_eq!(create("bank-of-x", "bank").await, 201);
    assert_eq!(create("bank-of-y", "bank").await, 409);
    assert_eq!(create("bank-of-y", "eu").await, 201, "the slug is free");
    assert_eq!(create("bank-of-y", "eu").await, 409);
}

async fn a_creation_that_is_asked_for_again_is_made_once(database: Database) {
    let (rig, _kept) = sharded(database).await;
    let operator = rig.operator_key().await;
    let new = json!({"slug": "acme", "database": "eu"});
    let ask = || {
        rig.ask_with(
            "POST",
            "/tenants",
            &operator,
            "idempotency-key: one\r\n",
            &new,
        )
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.status, again.status), (201, 201), "{}", again.body);
    assert_eq!(first.body, again.body);
    assert!(again.head.contains("idempotency-replayed: true"));
}

async fn while_a_database_is_away_nothing_is_created_in_it(database: Database) {
    let away = match database {
        Database::Sqlite => "sqlite:/nowhere/at/all.db?mode=rw".to_owned(),
        Database::Postgres => format!("{}_gone", database.empty().await.unwrap().url),
    };
    let shards = ShardConfig {
        urls: [("eu".to_owned(), away)].into(),
        ..ShardConfig::default()
    };
    let rig = rig_with_shards(database, shards).await;
    let new = json!({"slug": "acme", "database": "eu"});
    let refused = rig.operate("POST", "/tenants", &new).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    let found = rig.operate("GET", "/tenants/acme", &Value::Null).await;
    assert_eq!(found.status, 404);
    let elsewhere = json!({"slug": "acme", "database": "main"});
    let made = rig.operate("POST", "/tenants", &elsewhere).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

async fn a_creation_that_was_interrupted_is_undone_and_its_slug_is_free(database: Database) {
    fn interrupted(step: CreationStep) {
        assert_ne!(step, CreationStep::Placed, "as when a process ends here");
    }
    let (rig, _kept) = sharded(database).await;
    let store = rig.store.clone();
    let creation = tokio::spawn(async move {
        let id = TenantId::from_u128(new_id(&SystemRandom, 1));
        let new = NewTenant {
            database: Some("bank".to_owned()),
            ..NewTenant::plain(id, "acme", Placement::first(id, 4, 8))
        };
        let first = First {
            after: Some(interrupted),
            ..First::default()
        };
        let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
        // Long ago.
        store.tenants(&operator).create_with(new, first, 1).await
    });
    assert!(!matches!(creation.await, Ok(Ok(_))));
    let new = json!({"slug": "acme", "database": "bank"});
    until("the slug to be free", Duration::from_secs(20), || async {
        rig.operate("POST", "/tenants", &new).await.status == 201
    })
    .await
    .unwrap();
}
