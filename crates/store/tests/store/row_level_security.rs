//! PostgreSQL holds the tenants apart by itself, should a query ever forget to.

use crate::support::{NOW, Rig, new_key, rig, sharded};
use laneway_testkit::Database;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

async fn two_tenants() -> Option<(Rig, String, String)> {
    if laneway_testkit::servers::embedded_only("row-level security") {
        return None;
    }
    let rig = rig(Database::Postgres).await;
    let (mine, my_scope) = rig.tenant("mine").await;
    let (theirs, their_scope) = rig.tenant("theirs").await;
    for scope in [&my_scope, &their_scope] {
        rig.store
            .devices(scope)
            .create(&"truck".parse().unwrap(), NOW)
            .await
            .unwrap();
    }
    Some((rig, mine.id.to_string(), theirs.id.to_string()))
}

async fn connect(rig: &Rig) -> PgConnection {
    PgConnection::connect(&rig.empty.url).await.unwrap()
}

/// Runs statements in one transaction, and rolls it back.
async fn attempt(connection: &mut PgConnection, statements: &[&str]) -> Result<u64, sqlx::Error> {
    let mut tx = connection.begin().await?;
    let mut affected = 0;
    for statement in statements {
        affected = tx
            .execute(AssertSqlSafe((*statement).to_owned()))
            .await?
            .rows_affected();
    }
    tx.rollback().await?;
    Ok(affected)
}

async fn count(connection: &mut PgConnection, set: &[String], table: &str) -> i64 {
    let mut tx = connection.begin().await.unwrap();
    for statement in set {
        tx.execute(AssertSqlSafe(statement.clone())).await.unwrap();
    }
    let counted = tx
        .fetch_one(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
        .await
        .unwrap()
        .get(0);
    tx.rollback().await.unwrap();
    counted
}

fn as_tenant(tenant: &str) -> Vec<String> {
    vec![
        "SET LOCAL ROLE laneway_app".into(),
        format!("SELECT set_config('laneway.tenant', '{tenant}', true)"),
    ]
}

/// Tables with a tenant of a database, each of which is to be held apart.
async fn check_tables(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = connection
        .fetch_all(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
                (SELECT COUNT(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE a.attname = 'tenant_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p')",
        )
        .await
        .unwrap();
    assert!(rows.len() >= 9, "{} tables", rows.len());
    for row in rows {
        let name: String = row.get(0);
        assert!(row.get::<bool, _>(1) && row.get::<bool, _>(2), "{name}");
        assert!(row.get::<i64, _>(3) > 0, "{name} has no policy");
    }
}

#[tokio::test]
async fn every_table_with_a_tenant_id_has_row_level_security_enabled_and_forced() {
    let Some((rig, ..)) = two_tenants().await else {
        return;
    };
    check_tables(&rig.empty.url).await;
}

#[tokio::test]
async fn a_shard_holds_its_tenants_apart_as_the_main_database_does() {
    if laneway_testkit::servers::embedded_only("row-level security of shards") {
        return;
    }
    let rig = sharded(Database::Postgres).await;
    let (mine, _) = rig.tenant("mine", "eu").await;
    let (theirs, _) = rig.tenant("theirs", "eu").await;
    check_tables(&rig.eu.url).await;
    let mut connection = PgConnection::connect(&rig.eu.url).await.unwrap();
    let table = "shard_tenants";
    for tenant in [mine.id, theirs.id] {
        let its = count(&mut connection, &as_tenant(&tenant.to_string()), table).await;
        assert_eq!(its, 1);
    }
    assert_eq!(count(&mut connection, &as_tenant(""), table).await, 0);
}

#[tokio::test]
async fn the_programs_roles_own_nothing_and_cannot_pass_row_level_security() {
    let Some((rig, ..)) = two_tenants().await else {
        return;
    };
    let mut connection = connect(&rig).await;
    let roles = connection
        .fetch_all("SELECT rolname, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname LIKE 'laneway\\_%'")
        .await
        .unwrap();
    assert_eq!(roles.len(), 2);
    for role in roles {
        let name: String = role.get(0);
        assert!((1..4).all(|i| !role.get::<bool, _>(i)), "{name}");
    }
    let owned = connection
        .fetch_one(
            "SELECT COUNT(*) FROM pg_class WHERE pg_get_userbyid(relowner) LIKE 'laneway\\_%'",
        )
        .await
        .unwrap();
    assert_eq!(owned.get::<i64, _>(0), 0);
}

#[tokio::test]
async fn a_query_without_a_tenant_gets_no_row() {
    let Some((rig, mine, _)) = two_tenants().await else {
        return;
    };
    let mut connection = connect(&rig).await;
    let role = vec!["SET LOCAL ROLE laneway_app".to_owned()];
    let tables = connection
        .fetch_all(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE a.attname = 'tenant_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
               AND has_table_privilege('laneway_app', c.oid, 'SELECT')",
        )
        .await
        .unwrap();
    assert!(tables.len() >= 12, "{} tables", tables.len());
    for row in tables {
        let table: String = row.get(0);
        assert_eq!(
            count(&mut connection, &role, &table).await,
            0,
            "{table}, never set"
        );
    }
    // A connection that has acted for a tenant before has '' there, which is nobody either.
    assert_eq!(
        count(&mut connection, &as_tenant(&mine), "devices").await,
        1
    );
    assert_eq!(count(&mut connection, &role, "devices").await, 0);
    assert_eq!(count(&mut connection, &as_tenant(""), "devices").await, 0);
    // Nor does the owner see any.
    assert_eq!(count(&mut connection, &[], "devices").await, 0);
    assert_eq!(count(&mut connection, &as_tenant("*"), "devices").await, 2);
}

#[tokio::test]
async fn a_tenants_transaction_neither_reads_nor_writes_anothers_rows() {
    let Some((rig, mine, theirs)) = two_tenants().await else {
        return;
    };
    let mut connection = connect(&rig).await;
    let role = "SET LOCAL ROLE laneway_app";
    let set = format!("SELECT set_config('laneway.tenant', '{mine}', true)");
    let delete = format!("DELETE FROM devices WHERE tenant_id = '{theirs}'");
    assert_eq!(
        attempt(&mut connection, &[role, &set, &delete])
            .await
            .unwrap(),
        0
    );
    let rename = format!("UPDATE tenants SET slug = 'x' WHERE tenant_id = '{theirs}'");
    assert_eq!(
        attempt(&mut connection, &[role, &set, &rename])
            .await
            .unwrap(),
        0
    );
    let insert = format!("INSERT INTO devices VALUES ('{theirs}', 'x', 1, 1)");
    assert!(
        attempt(&mut connection, &[role, &set, &insert])
            .await
            .is_err()
    );
    let give_away = format!(
        "UPDATE devices SET tenant_id = '{theirs}', device_id = 'x' WHERE tenant_id = '{mine}'"
    );
    assert!(
        attempt(&mut connection, &[role, &set, &give_away])
            .await
            .is_err()
    );
    let secret = "SELECT value FROM settings";
    assert_eq!(
        attempt(&mut connection, &[role, &set, secret])
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn the_projector_writes_its_own_tables_for_its_own_tenants_alone() {
    let Some((rig, mine, theirs)) = two_tenants().await else {
        return;
    };
    let mut connection = connect(&rig).await;
    let role = "SET LOCAL ROLE laneway_projector";
    let set = format!("SELECT set_config('laneway.tenants', '{mine}', true)");
    let position = |tenant: &str| {
        format!("INSERT INTO latest_positions VALUES ('{tenant}', 'd', 1, 'a', 0, '{{}}')")
    };
    assert_eq!(
        attempt(&mut connection, &[role, &set, &position(&mine)])
            .await
            .unwrap(),
        1
    );
    assert!(
        attempt(&mut connection, &[role, &set, &position(&theirs)])
            .await
            .is_err()
    );
    assert!(
        attempt(&mut connection, &[role, &position(&mine)])
            .await
            .is_err()
    );
    for table in [
        "tenants",
        "devices",
        "credentials",
        "api_keys",
        "destinations",
        "hosts",
        "partner_grants",
        "secret_homes",
        "outbox",
        "settings",
        "schemas",
    ] {
        let read = format!("SELECT * FROM {table}");
        assert!(
            attempt(&mut connection, &[role, &set, &read])
                .await
                .is_err(),
            "{table} can be read"
        );
        let write = format!("DELETE FROM {table}");
        assert!(
            attempt(&mut connection, &[role, &set, &write])
                .await
                .is_err(),
            "{table} can be written"
        );
    }
}

#[tokio::test]
async fn a_credential_shows_itself_alone() {
    let Some((rig, mine, _)) = two_tenants().await else {
        return;
    };
    let scope = crate::support::operator().scope(mine.parse().unwrap());
    for (id, hash) in [(1, [0xaa; 32]), (2, [0xbb; 32])] {
        let grants = laneway_tenancy::Grants::of([laneway_tenancy::Grant::StreamRead]);
        let id = laneway_tenancy::KeyId::from_u128(id);
        rig.store
            .keys(&scope)
            .create(new_key(id, grants, hash), NOW)
            .await
            .unwrap();
    }
    let mut connection = connect(&rig).await;
    let set = |hash: &str| {
        vec![
            "SET LOCAL ROLE laneway_app".to_owned(),
            format!("SELECT set_config('laneway.credential', '{hash}', true)"),
        ]
    };
    assert_eq!(
        count(&mut connection, &set(&"aa".repeat(32)), "api_keys").await,
        1
    );
    assert_eq!(
        count(&mut connection, &set(&"cc".repeat(32)), "api_keys").await,
        0
    );
    assert_eq!(count(&mut connection, &set(""), "api_keys").await, 0);
    assert_eq!(
        count(&mut connection, &set(&"aa".repeat(32)), "devices").await,
        0
    );
}
