//! Shards: what the stream writes of a tenant is in its database and in no other one.

use laneway_store::{
    PositionRow, ProjectionBatch, SessionRow, SessionState, ShardConfig, ShardRule, Store,
    StoreConfig, StoreError,
};
use laneway_tenancy::TenantId;
use laneway_tenancy::control::TenantState;
use laneway_testkit::{Database, EmptyDatabase};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use crate::support::{NOW, ShardedRig, authority, device, new_in, operator, rows, sharded};

laneway_testkit::on_both_databases!(
    rows_of_a_tenant_are_in_its_database_and_nowhere_else,
    what_is_erased_of_a_device_or_a_tenant_goes_from_its_database,
    a_projection_that_stopped_between_two_databases_goes_on_from_the_least,
    a_database_that_is_away_holds_up_its_tenants_alone,
    a_database_of_which_a_tenant_is_has_to_be_configured,
    a_tenant_below_a_dedicated_one_is_where_that_is,
    a_tenant_stays_where_it_is_when_the_rule_changes,
);

fn position(tenant: TenantId, recorded_at: i64) -> PositionRow {
    PositionRow {
        tenant,
        device: device("truck"),
        recorded_at,
        received_at: recorded_at + 1,
        fix_id: "f".into(),
        revision: 0,
        body: "{}".into(),
    }
}

fn session(tenant: TenantId) -> SessionRow {
    SessionRow {
        tenant,
        device: device("truck"),
        session: "trip".parse().unwrap(),
        state: SessionState::Started,
        revision: 0,
        started_at: Some(1),
        stopped_at: None,
        last_fix_at: None,
        fixes: 0,
        distance_m: 0.0,
        duration_s: 0.0,
        attributes: None,
    }
}

fn batch(from: u64, to: u64, positions: Vec<PositionRow>) -> ProjectionBatch {
    ProjectionBatch {
        generation: 1,
        partition: 3,
        from_offset: from,
        to_offset: to,
        sessions: positions.iter().map(|row| session(row.tenant)).collect(),
        positions,
    }
}

async fn project(store: &Store, batch: ProjectionBatch) -> Result<(), StoreError> {
    store.project(&authority(), batch).await
}

async fn projected(store: &Store) -> Option<u64> {
    let found = store.projected(&authority(), 1, 3).await;
    found.unwrap().least()
}

/// Latest positions and sessions of each of the three databases: the main one, `eu`, `bank`.
async fn spread(rig: &ShardedRig) -> [(i64, i64); 3] {
    let mut counts = [(0, 0); 3];
    for (count, empty) in counts.iter_mut().zip([&rig.main, &rig.eu, &rig.bank]) {
        *count = (
            rows(empty, "latest_positions").await,
            rows(empty, "sessions").await,
        );
    }
    counts
}

async fn rows_of_a_tenant_are_in_its_database_and_nowhere_else(database: Database) {
    let rig = sharded(database).await;
    let (main, in_main) = rig.tenant("plain", "main").await;
    let (eu, in_eu) = rig.tenant("acme", "eu").await;
    let (bank, in_bank) = rig.tenant("bank-of-x", "bank").await;
    assert_eq!(
        [&main, &eu, &bank].map(|tenant| tenant.shard.as_deref()),
        [None, Some("eu"), Some("bank")]
    );
    let all = [main.id, eu.id, bank.id].map(|tenant| position(tenant, 5));
    project(&rig.store, batch(0, 3, all.into())).await.unwrap();
    assert_eq!(spread(&rig).await, [(1, 1); 3]);
    let more = vec![position(eu.id, 7)];
    project(&rig.store, batch(3, 4, more)).await.unwrap();
    for (scope, expected) in [(&in_main, 5), (&in_eu, 7), (&in_bank, 5)] {
        let truck = device("truck");
        let devices = rig.store.devices(scope);
        devices.create(&truck, NOW).await.unwrap();
        let latest = rig.store.positions(scope).latest(&truck).await.unwrap();
        assert_eq!(latest.unwrap().recorded_at, expected);
        let sessions = rig.store.sessions(scope);
        assert_eq!(sessions.of_device(&truck, None, 9).await.unwrap().len(), 1);
        let trip = "trip".parse().unwrap();
        assert!(sessions.find(None, &trip).await.unwrap().is_some());
        let listed = devices.list(None, 9).await.unwrap();
        let found = devices.find(&truck).await.unwrap();
        assert_eq!(found.as_ref(), listed.first());
        assert_eq!(listed[0].seen.unwrap().recorded_at, expected);
    }
}

async fn what_is_erased_of_a_device_or_a_tenant_goes_from_its_database(database: Database) {
    let rig = sharded(database).await;
    let (eu, in_eu) = rig.tenant("acme", "eu").await;
    let (bank, _) = rig.tenant("bank-of-x", "bank").await;
    let all = [eu.id, bank.id].map(|tenant| position(tenant, 5));
    project(&rig.store, batch(0, 2, all.into())).await.unwrap();
    let devices = rig.store.devices(&in_eu);
    devices.create(&device("truck"), NOW).await.unwrap();
    let erased = devices.erase(&device("truck"), false, NOW).await;
    assert_eq!(erased.unwrap().projected, 2);
    assert_eq!(spread(&rig).await, [(0, 0), (0, 0), (1, 1)]);

    let (operator, authority) = (operator(), authority());
    let tenants = rig.store.tenants(&operator);
    let closing = tenants.set_state(bank.id, TenantState::Closing, NOW).await;
    closing.unwrap();
    let closures = rig.store.closures(&authority);
    closures.erase(bank.id).await.unwrap();
    closures.finish(&operator, bank.id, NOW).await.unwrap();
    assert_eq!(spread(&rig).await, [(0, 0); 3]);
    assert_eq!(rows(&rig.bank, "shard_tenants").await, 0);
    // The database is free for another tenant.
    rig.tenant("bank-of-y", "bank").await;
}

async fn execute(empty: &EmptyDatabase, statement: &str) {
    let mut connection = AnyConnection::connect(&empty.url).await.unwrap();
    let executed = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await;
    executed.unwrap();
}

async fn a_projection_that_stopped_between_two_databases_goes_on_from_the_least(
    database: Database,
) {
    let rig = sharded(database).await;
    let (main, in_main) = rig.tenant("plain", "main").await;
    let (eu, in_eu) = rig.tenant("acme", "eu").await;
    let (bank, in_bank) = rig.tenant("bank-of-x", "bank").await;
    let all = |at| {
        vec![
            position(main.id, at),
            position(eu.id, at),
            position(bank.id, at),
        ]
    };
    project(&rig.store, batch(0, 10, all(1))).await.unwrap();
    assert_eq!(projected(&rig.store).await, Some(10));

    // `bank` is written first; `eu` cannot be, and the main database is not reached.
    execute(&rig.eu, "ALTER TABLE sessions RENAME TO sessions_away").await;
    assert!(project(&rig.store, batch(10, 20, all(2))).await.is_err());
    rig.store.close().await;
    execute(&rig.eu, "ALTER TABLE sessions_away RENAME TO sessions").await;
    let store = Store::open(&rig.config).await.unwrap();
    assert_eq!(projected(&store).await, Some(10));
    let latest = async |scope| {
        let found = store.positions(scope).latest(&device("truck")).await;
        found.unwrap().unwrap().recorded_at
    };
    assert_eq!(latest(&in_bank).await, 2);
    assert_eq!((latest(&in_eu).await, latest(&in_main).await), (1, 1));

    // Batches end elsewhere the next time.
    project(&store, batch(10, 14, vec![position(bank.id, 2)]))
        .await
        .unwrap();
    assert_eq!(
        projected(&store).await,
        Some(10),
        "eu is told when there is something for it"
    );
    project(&store, batch(14, 25, all(3))).await.unwrap();
    assert_eq!(projected(&store).await, Some(25));
    for scope in [&in_main, &in_eu, &in_bank] {
        assert_eq!(latest(scope).await, 3);
    }
    // One that is put back from a backup of before is given what it lacks.
    execute(&rig.eu, "UPDATE projection_positions SET next_offset = 12").await;
    let gap = project(&store, batch(25, 26, all(4))).await;
    assert!(
        matches!(
            gap,
            Err(StoreError::Moved {
                actual: Some(12),
                ..
            })
        ),
        "{gap:?}"
    );
    assert_eq!(projected(&store).await, Some(12));
    project(&store, batch(12, 26, all(4))).await.unwrap();
    assert_eq!(projected(&store).await, Some(26));
}

async fn a_database_that_is_away_holds_up_its_tenants_alone(database: Database) {
    let rig = sharded(database).await;
    let (main, in_main) = rig.tenant("plain", "main").await;
    let (eu, in_eu) = rig.tenant("acme", "eu").await;
    let away = StoreConfig {
        acquire_timeout_ms: 300,
        ..rig.config.clone()
    };
    let gone = match database {
        Database::Sqlite => "sqlite:/nowhere/at/all.db?mode=rw".to_owned(),
        Database::Postgres => format!("{}_gone", rig.eu.url),
    };
    let urls = [
        ("eu".to_owned(), gone),
        ("bank".to_owned(), rig.bank.url.clone()),
    ];
    let away = StoreConfig {
        shards: ShardConfig {
            urls: urls.into(),
            ..away.shards.clone()
        },
        ..away
    };
    let store = Store::open(&away).await.unwrap();
    let unhealthy = store.health().await.unwrap_err();
    assert!(
        unhealthy.to_string().contains("the database eu"),
        "{unhealthy}"
    );
    let truck = device("truck");
    let away = store.positions(&in_eu).latest(&truck).await;
    assert!(away.unwrap_err().is_transient());
    project(&store, batch(0, 4, vec![position(main.id, 1)]))
        .await
        .unwrap();
    assert!(
        store
            .positions(&in_main)
            .latest(&truck)
            .await
            .unwrap()
            .is_some()
    );
    let waits = project(&store, batch(4, 8, vec![position(eu.id, 1)])).await;
    assert!(waits.unwrap_err().is_transient());
    assert_eq!(projected(&store).await, Some(4));
    let operator = operator();
    let tenants = store.tenants(&operator);
    let refused = tenants.create(new_in("late", "eu"), NOW).await;
    assert!(refused.unwrap_err().is_transient());
    assert_eq!(tenants.by_slug("late").await.unwrap(), None);
    tenants.create(new_in("late", "bank"), NOW).await.unwrap();
}

async fn a_database_of_which_a_tenant_is_has_to_be_configured(database: Database) {
    let rig = sharded(database).await;
    let without = StoreConfig {
        shards: ShardConfig::default(),
        ..rig.config.clone()
    };
    // One that runs since before there was such a tenant.
    let older = Store::open(&without).await.unwrap();
    let (_, scope) = rig.tenant("acme", "eu").await;
    let read = older.positions(&scope).latest(&device("truck")).await;
    assert!(read.unwrap_err().to_string().contains("the database eu"));
    let refused = Store::open(&without).await.err().unwrap().to_string();
    assert!(
        refused.contains("store.shards.urls has no database eu") && refused.contains("acme"),
        "{refused}"
    );
}

async fn a_tenant_below_a_dedicated_one_is_where_that_is(database: Database) {
    let rig = sharded(database).await;
    let (_, head) = rig.tenant("bank-of-x", "bank").await;
    let operator = operator();
    let family = rig.store.family(&head);
    let mut below = new_in("branch", "bank");
    below.database = None;
    let below = family.create(below, NOW).await.unwrap();
    assert_eq!(below.shard.as_deref(), Some("bank"));
    let elsewhere = family.create(new_in("other-branch", "eu"), NOW).await;
    assert!(matches!(elsewhere, Err(StoreError::Refused(_))));
    let tenants = rig.store.tenants(&operator);
    let second = tenants.create(new_in("bank-of-y", "bank"), NOW).await;
    assert!(matches!(second, Err(StoreError::Refused(_))), "{second:?}");
    assert_eq!(tenants.by_slug("bank-of-y").await.unwrap(), None);
    assert_eq!(rows(&rig.main, "creations").await, 0);
    // Its slug is free.
    rig.tenant("bank-of-y", "eu").await;
}

async fn a_tenant_stays_where_it_is_when_the_rule_changes(database: Database) {
    let rig = sharded(database).await;
    let mut places = Vec::new();
    let spread = StoreConfig {
        shards: ShardConfig {
            rule: ShardRule::Spread,
            exceptions: [("acme".to_owned(), "eu".to_owned())].into(),
            ..rig.config.shards.clone()
        },
        ..rig.config.clone()
    };
    let store = Store::open(&spread).await.unwrap();
    let operator = operator();
    for slug in ["acme", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"] {
        let mut new = new_in(slug, "main");
        new.database = None;
        places.push(store.tenants(&operator).create(new, NOW).await.unwrap());
    }
    assert_eq!(places[0].shard.as_deref(), Some("eu"));
    assert!(
        places
            .iter()
            .all(|tenant| tenant.shard.as_deref() != Some("bank"))
    );
    for tenant in places {
        let found = rig.store.tenants(&operator).find(tenant.id).await.unwrap();
        assert_eq!(found.unwrap().shard, tenant.shard);
    }
}

#[tokio::test]
async fn a_store_is_copied_with_its_shards() {
    let rig = sharded(Database::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let authority = authority();
    let copied = rig.store.backup(&authority, &to, folder.path(), || ());
    copied.await.unwrap();
    for name in ["copy", "bank", "eu"] {
        assert!(folder.path().join(format!("{name}.db")).exists(), "{name}");
    }
}
