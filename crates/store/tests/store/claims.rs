//! What is unique over all tenants, wherever their databases are.

use laneway_store::{HostProof, NewCertificate, Store, StoreError, TenantChange};
use laneway_tenancy::control::{HostState, TenantKind};
use laneway_tenancy::{HostPattern, TenantId, TenantScope};
use laneway_testkit::{Database, EmptyDatabase};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use crate::homes::DAY;
use crate::isolation::furnish;
use crate::support::{NOW, authority, device, new_in, operator, rows, sharded};

laneway_testkit::on_both_databases!(
    another_slug_is_unique_over_all_databases,
    a_live_host_is_one_tenants_over_all_databases,
    what_is_not_there_any_more_is_released,
);

/// Older than any claim that is in use.
pub const LATER: i64 = NOW + 2 * 3600 * 1_000_000;

fn host(name: &str) -> HostPattern {
    name.parse().unwrap()
}

pub async fn register(store: &Store, scope: &TenantScope, name: &str) {
    let hosts = store.hosts(scope);
    hosts.register(&host(name), "t", 10, NOW).await.unwrap();
}

/// A proof that succeeds; makes the host live.
pub async fn prove(store: &Store, scope: &TenantScope, name: &str) -> Result<(), StoreError> {
    note(store, scope, name, Ok(())).await
}

async fn note(
    store: &Store,
    scope: &TenantScope,
    name: &str,
    outcome: Result<(), String>,
) -> Result<(), StoreError> {
    let proof = HostProof {
        at: NOW,
        next: NOW + DAY,
        outcome,
        stops: true,
    };
    let noted = store.hosts(scope).note(&host(name), proof).await;
    noted.map(drop)
}

async fn another_slug_is_unique_over_all_databases(database: Database) {
    let rig = sharded(database).await;
    let (bank, in_bank) = rig.tenant("acme", "bank").await;
    rig.tenant("globex", "eu").await;
    rig.tenant("initech", "main").await;
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    let mut dev = new_in("acme-dev", "bank");
    dev.kind = TenantKind::Namespace;
    rig.store.family(&in_bank).create(dev, NOW).await.unwrap();
    let rename = async |to: &str| {
        let slug = TenantChange::Slug {
            slug: to.into(),
            until: NOW + DAY,
        };
        tenants.change(bank.id, None, slug, NOW).await
    };
    for taken in ["globex", "initech", "g1obex"] {
        let refused = rename(taken).await;
        assert!(matches!(refused, Err(StoreError::Exists { .. })), "{taken}");
    }
    // One that cannot be had with all its namespaces is not had at all.
    rig.tenant("umbrella-dev", "eu").await;
    assert!(rename("umbrella").await.is_err());
    rig.tenant("umbrella", "main").await;
    rename("hooli").await.unwrap();
    for (slug, found) in [("hooli", true), ("hooli-dev", true), ("acme", false)] {
        let by_slug = tenants.by_slug(slug).await.unwrap();
        assert_eq!(by_slug.is_some(), found, "{slug}");
    }
    let former = tenants.by_former_slug("acme", NOW).await.unwrap();
    assert_eq!(former.unwrap().body.slug, "hooli");
    for (slug, place) in [("acme", "eu"), ("hooli", "main"), ("hooli-dev", "eu")] {
        let taken = tenants.create(new_in(slug, place), NOW).await;
        assert!(matches!(taken, Err(StoreError::Exists { .. })), "{slug}");
    }
    // And back: what it was called is its own.
    rename("acme").await.unwrap();
    assert!(tenants.by_slug("acme-dev").await.unwrap().is_some());
}

async fn a_live_host_is_one_tenants_over_all_databases(database: Database) {
    let rig = sharded(database).await;
    let (_, bank) = rig.tenant("acme", "bank").await;
    let (_, eu) = rig.tenant("globex", "eu").await;
    let (_, main) = rig.tenant("initech", "main").await;
    let name = "tracks.example.com";
    for scope in [&bank, &eu, &main] {
        register(&rig.store, scope, name).await;
    }
    prove(&rig.store, &bank, name).await.unwrap();
    for scope in [&eu, &main] {
        let refused = prove(&rig.store, scope, name).await;
        assert!(matches!(refused, Err(StoreError::Exists { .. })));
    }
    // Proved again, it is the same one's; and where it fails it is free.
    prove(&rig.store, &bank, name).await.unwrap();
    note(&rig.store, &bank, name, Err("gone".into()))
        .await
        .unwrap();
    prove(&rig.store, &main, name).await.unwrap();
    let refused = prove(&rig.store, &bank, name).await;
    assert!(matches!(refused, Err(StoreError::Exists { .. })));
    let hosts = rig.store.hosts(&main);
    hosts.delete(&host(name), NOW).await.unwrap();
    prove(&rig.store, &eu, name).await.unwrap();
    rig.store.hosts(&eu).delete(&host(name), NOW).await.unwrap();
    prove(&rig.store, &bank, name).await.unwrap();

    let certificate = NewCertificate {
        chain: "a chain",
        key: "a private key",
        expires_at: NOW + DAY,
    };
    let hosts = rig.store.hosts(&bank);
    let set = hosts.set_certificate(&host(name), certificate, NOW).await;
    assert_eq!(set.unwrap().state, HostState::Live);
    let authority = authority();
    let proofs = rig.store.host_proofs(&authority);
    let found = proofs.certificate(&host(name)).await.unwrap().unwrap();
    assert_eq!(found.key, "a private key");
    let all = proofs.certificates(None, 9).await.unwrap();
    let keys = all.into_iter().map(|(_, read)| read.unwrap().unwrap().key);
    assert_eq!(keys.collect::<Vec<_>>(), ["a private key"]);
    let due = proofs.due(NOW + 2 * DAY, 9).await.unwrap();
    let due: Vec<TenantId> = due.into_iter().map(|(tenant, _)| tenant).collect();
    assert_eq!(due, [bank.tenant()]);
}

async fn what_is_not_there_any_more_is_released(database: Database) {
    let rig = sharded(database).await;
    let (bank, in_bank) = rig.tenant("acme", "bank").await;
    furnish(&rig.store, &in_bank, 1).await;
    prove(&rig.store, &in_bank, "tracks.example.com")
        .await
        .unwrap();
    let authority = authority();
    let claims = rig.store.claims(&authority);
    // A token, a key of a person, one of an account, and a provisioning key.
    let before = rows(&rig.main, "secret_homes").await;
    let swept = claims.sweep_secrets("", LATER, 2).await.unwrap();
    assert_eq!((swept.released, swept.next.is_some()), (0, true));
    let devices = rig.store.devices(&in_bank);
    devices.delete(&device("truck"), NOW).await.unwrap();
    let swept = claims.sweep_secrets("", NOW, 100).await.unwrap();
    assert_eq!(swept.released, 0, "it may be in use still");
    let swept = claims.sweep_secrets("", LATER, 100).await.unwrap();
    assert_eq!((swept.released, swept.next), (1, None));
    assert_eq!(rows(&rig.main, "secret_homes").await, before - 1);

    // A process that ended between its claim and what it was made for.
    for statement in [
        format!(
            "INSERT INTO slugs (slug, tenant_id, appearance, claimed_at)
             VALUES ('hooli', '{0}', 'hooli', {NOW})",
            bank.id
        ),
        format!(
            "INSERT INTO hosts (tenant_id, host, state, token, next_check_at, created_at)
             VALUES ('{0}', 'other.example.com', 'live', '', {1}, {NOW})",
            bank.id,
            i64::MAX
        ),
    ] {
        as_owner(&rig.main, &statement).await;
    }
    let taken = rig
        .store
        .tenants(&operator())
        .create(new_in("hooli", "eu"), NOW)
        .await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })));
    assert_eq!(claims.sweep_names(NOW).await.unwrap(), 0);
    assert_eq!(claims.sweep_names(LATER).await.unwrap(), 2);
    rig.tenant("hooli", "eu").await;
    let (_, eu) = rig.tenant("globex", "eu").await;
    register(&rig.store, &eu, "other.example.com").await;
    prove(&rig.store, &eu, "other.example.com").await.unwrap();
    register(&rig.store, &eu, "tracks.example.com").await;
    let refused = prove(&rig.store, &eu, "tracks.example.com").await;
    assert!(matches!(refused, Err(StoreError::Exists { .. })));
}

/// Past the program and its rules.
pub async fn as_owner(empty: &EmptyDatabase, statement: &str) {
    let mut connection = AnyConnection::connect(&empty.url).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    if empty.url.starts_with("postgres") {
        for set in [
            "SELECT set_config('role', 'laneway_app', true)",
            "SELECT set_config('laneway.tenant', '*', true)",
        ] {
            sqlx::query(set).execute(&mut *tx).await.unwrap();
        }
    }
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::query(statement).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}
