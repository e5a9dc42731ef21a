//! Tenants whose tables are in a database of their own: what is where, who is let in and found,
//! and what the main database claims for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use laneway_store::audit::AuditQuery;
use laneway_store::{
    Enrolment, KeyRotation, NewCredential, NewSecret, NewToken, Store, StoreConfig,
    StoreCredentials, StoreError, TenantChange,
};
use laneway_tenancy::control::{TenantKind, TenantState};
use laneway_tenancy::details::Labels;
use laneway_tenancy::{
    CredentialId, CredentialSource, CredentialUse, KeyId, SecretId, StoredPrincipal, TenantId,
    Validity,
};
use laneway_testkit::{Database, EmptyDatabase};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::claims::{LATER, prove};
use crate::enrolment;
use crate::isolation::furnish;
use crate::support::{NOW, authority, below, device, new_in, operator, sharded};

laneway_testkit::on_both_databases!(
    all_that_a_tenant_has_is_in_its_database_but_what_is_unique_over_all,
    a_closed_tenant_leaves_nothing_in_either_database_and_its_certificate_in_both,
    whoever_is_in_a_database_of_its_own_is_let_in_as_any_other,
    a_device_enrols_in_a_database_of_its_own,
    changes_are_told_in_their_order_and_only_of_what_is_there,
    a_database_that_was_put_back_counts_on_from_what_was_read,
    the_operator_sees_all_databases_as_one,
    a_family_is_in_one_database,
    a_database_that_is_away_keeps_its_own_waiting_and_no_others,
    a_database_that_is_not_the_one_that_it_was_says_nothing,
);

pub const DAY: i64 = 86_400_000_000;
/// Tables with rows of a tenant, past the program and its rules: as the owner of the tables.
async fn tables_of(empty: &EmptyDatabase, tenant: TenantId) -> Vec<String> {
    let mut connection = AnyConnection::connect(&empty.url).await.unwrap();
    let postgres = empty.url.starts_with("postgres");
    let all = if postgres {
        "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'tenant_id'
         AND table_schema = current_schema() ORDER BY 1"
    } else {
        "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
         WHERE m.type = 'table' AND c.name = 'tenant_id' ORDER BY 1"
    };
    let all = sqlx::query(all).fetch_all(&mut connection).await.unwrap();
    assert!(all.len() >= 25, "{} tables", all.len());
    let mut found = Vec::new();
    let mut tx = connection.begin().await.unwrap();
    for row in all {
        let table: String = row.get(0);
        if postgres {
            let owner = format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
            let owner = sqlx::query(AssertSqlSafe(owner)).execute(&mut *tx);
            owner.await.unwrap();
        }
        let count = format!("SELECT COUNT(*) FROM {table} WHERE tenant_id = $1");
        let count = sqlx::query(AssertSqlSafe(count)).bind(tenant.to_string());
        let count: i64 = count.fetch_one(&mut *tx).await.unwrap().get(0);
        if count > 0 {
            found.push(table);
        }
    }
    tx.rollback().await.unwrap();
    found
}

async fn tell_all(store: &Store) {
    for outbox in store.outboxes(&authority()) {
        let rows = outbox.oldest(1000).await.unwrap();
        let rows = outbox.vetted(rows).await.unwrap();
        outbox.relayed(&rows).await.unwrap();
        assert_eq!(outbox.oldest(1).await.unwrap(), []);
    }
}

async fn all_that_a_tenant_has_is_in_its_database_but_what_is_unique_over_all(database: Database) {
    let rig = sharded(database).await;
    let (tenant, scope) = rig.tenant("acme", "bank").await;
    furnish(&rig.store, &scope, 1).await;
    prove(&rig.store, &scope, "tracks.example.com")
        .await
        .unwrap();
    let answers = rig.store.idempotent_answers(&scope);
    answers.begin("key", &[7; 32], NOW, DAY).await.unwrap();
    let devices = rig.store.devices(&scope);
    devices.create(&device("gone"), NOW).await.unwrap();
    devices.erase(&device("gone"), true, NOW).await.unwrap();
    assert_eq!(
        tables_of(&rig.main, tenant.id).await,
        ["hosts", "secret_homes", "slugs", "tenants"]
    );
    assert_eq!(tables_of(&rig.eu, tenant.id).await, Vec::<String>::new());
    let there = tables_of(&rig.bank, tenant.id).await;
    for table in [
        "api_keys",
        "audit_entries",
        "audit_heads",
        "audit_personal",
        "config_entries",
        "credentials",
        "destinations",
        "devices",
        "erasures",
        "hosts",
        "idempotent_answers",
        "latest_positions",
        "outbox",
        "partner_grants",
        "provisioning_keys",
        "service_accounts",
        "sessions",
        "shard_tenants",
        "slugs",
        "tenants",
    ] {
        assert!(there.iter().any(|t| t == table), "{table} of {there:?}");
    }
    // The copy of its host has neither what proves it nor a key.
    let mut connection = AnyConnection::connect(&rig.main.url).await.unwrap();
    if database == Database::Sqlite {
        let copy = sqlx::query("SELECT token, certificate, private_key FROM hosts");
        let copy = copy.fetch_one(&mut connection).await.unwrap();
        assert_eq!(copy.get::<String, _>(0), "");
        assert_eq!(copy.get::<Option<String>, _>(1), None);
    }
}

async fn a_closed_tenant_leaves_nothing_in_either_database_and_its_certificate_in_both(
    database: Database,
) {
    let rig = sharded(database).await;
    let (tenant, scope) = rig.tenant("acme", "bank").await;
    let id = tenant.id;
    furnish(&rig.store, &scope, 1).await;
    prove(&rig.store, &scope, "tracks.example.com")
        .await
        .unwrap();
    let (operator, authority) = (operator(), authority());
    let tenants = rig.store.tenants(&operator);
    tenants
        .set_state(id, TenantState::Closing, NOW)
        .await
        .unwrap();
    let closures = rig.store.closures(&authority);
    let open = closures.open(10).await.unwrap();
    assert_eq!(open.iter().map(|c| c.tenant).collect::<Vec<_>>(), [id]);
    assert!(!closures.is_told(id).await.unwrap());
    tell_all(&rig.store).await;
    assert!(closures.is_told(id).await.unwrap());
    // What is below goes first.
    let family = rig.store.family(&scope);
    let branch = family.list(TenantKind::Tenant, None, 9).await.unwrap();
    for below in &branch {
        tenants
            .set_state(below.id, TenantState::Closed, NOW)
            .await
            .unwrap();
    }
    closures.erase(id).await.unwrap();
    closures.finish(&operator, id, NOW + 5).await.unwrap();
    tell_all(&rig.store).await;
    assert_eq!(closures.open(10).await.unwrap(), []);
    let of_audit = [
        "audit_entries",
        "audit_heads",
        "closures",
        "slugs",
        "tenants",
    ];
    assert_eq!(tables_of(&rig.bank, id).await, of_audit);
    assert_eq!(
        tables_of(&rig.main, id).await,
        ["closures", "slugs", "tenants"]
    );
    // The database may be taken away.
    rig.store.close().await;
    let mut without = rig.config.clone();
    without.shards.urls.remove("bank");
    without.shards.dedicated.clear();
    let store = Store::open(&without).await.unwrap();
    let found = store.tenants(&operator).find(id).await.unwrap().unwrap();
    assert_eq!(found.own_state, TenantState::Closed);
    let closure = store.closure(&scope).await.unwrap().unwrap();
    assert_eq!(closure.closed_at, Some(NOW + 5));
}

async fn whoever_is_in_a_database_of_its_own_is_let_in_as_any_other(database: Database) {
    let rig = sharded(database).await;
    let (tenant, scope) = rig.tenant("acme", "bank").await;
    let truck = device("truck");
    furnish(&rig.store, &scope, 1).await;
    let source = StoreCredentials(rig.store.clone());
    let found = source.by_token([1; 32]).await.unwrap().unwrap();
    assert_eq!(found.tenant.id, tenant.id);
    assert!(matches!(found.principal, StoredPrincipal::Device { .. }));
    // As new as the tenant itself, which the main database need not know yet.
    let is_at = rig.store.tenants(&operator()).find(tenant.id).await;
    assert_eq!(
        found.control_version,
        is_at.unwrap().unwrap().control_version
    );
    let key = source.by_token([101; 32]).await.unwrap().unwrap();
    assert!(matches!(key.principal, StoredPrincipal::Key { .. }));
    assert!(source.by_token([77; 32]).await.unwrap().is_none());

    // After a rotation both secrets, and then the new one.
    let rotation = KeyRotation {
        token_hash: [102; 32],
        former_until: NOW + DAY,
        expires_at: None,
    };
    let id = KeyId::from_u128(2);
    let keys = rig.store.keys(&scope);
    keys.rotate(id, None, rotation, NOW).await.unwrap();
    for secret in [101, 102] {
        assert!(source.by_token([secret; 32]).await.unwrap().is_some());
    }
    keys.delete(id, NOW).await.unwrap();
    for secret in [101, 102] {
        assert!(source.by_token([secret; 32]).await.unwrap().is_none());
    }

    let password = NewCredential {
        id: CredentialId::from_u128(9),
        secret: NewSecret::Password("$argon2id$".into()),
        valid: Validity::default(),
        others_end: None,
    };
    let credentials = rig.store.credentials(&scope);
    credentials.add(&truck, password, NOW).await.unwrap();
    let login = async |slug: &str| source.by_login(slug, "truck", NOW).await.unwrap();
    assert_eq!(login("acme").await.unwrap().tenant.id, tenant.id);
    let tenants = operator();
    let tenants = rig.store.tenants(&tenants);
    let slug = TenantChange::Slug {
        slug: "acme-two".into(),
        until: NOW + DAY,
    };
    tenants.change(tenant.id, None, slug, NOW).await.unwrap();
    for slug in ["acme", "acme-two"] {
        assert_eq!(login(slug).await.unwrap().tenant.slug, "acme-two", "{slug}");
    }
    assert!(login("acme-three").await.is_none());
    let now = source.shared_namespace("acme-two").await.unwrap();
    assert_eq!(now.unwrap().tenant.id, tenant.id);

    let used = |n, at| CredentialUse {
        tenant: tenant.id,
        secret: SecretId::Credential(CredentialId::from_u128(n)),
        at,
    };
    let noted = rig.store.note_uses(&authority(), &[used(1, NOW + 7)]).await;
    noted.unwrap();
    let first = credentials.of_device(&truck).await.unwrap().remove(0);
    assert_eq!(first.last_used_at, Some(NOW + 7));
}

async fn a_device_enrols_in_a_database_of_its_own(database: Database) {
    let rig = sharded(database).await;
    let (tenant, scope) = rig.tenant("acme", "bank").await;
    let secret = enrolment::key(&rig.store, &scope, 5, enrolment::terms()).await;
    let new = |token: u8| Enrolment {
        device: device("truck-7"),
        proof: Some([5; 32]),
        hardware: Labels::default(),
        token: NewToken {
            credential: CredentialId::from_u128(token.into()),
            hash: [token; 32],
        },
    };
    let source = StoreCredentials(rig.store.clone());
    for (token, again) in [(60, false), (61, true)] {
        let enrolled = rig
            .store
            .enrol(&authority(), &secret, new(token), |_| true, NOW)
            .await;
        let enrolled = enrolled.unwrap().unwrap();
        assert_eq!((enrolled.tenant, enrolled.again), (tenant.id, again));
        assert!(source.by_token([token; 32]).await.unwrap().is_some());
    }
    assert!(source.by_token([60; 32]).await.unwrap().is_none());
}

async fn changes_are_told_in_their_order_and_only_of_what_is_there(database: Database) {
    let rig = sharded(database).await;
    let (bank, in_bank) = rig.tenant("acme", "bank").await;
    let (main, in_main) = rig.tenant("initech", "main").await;
    for scope in [&in_bank, &in_main] {
        let devices = rig.store.devices(scope);
        for id in ["a", "b", "c"] {
            devices.create(&device(id), NOW).await.unwrap();
        }
    }
    let authority = authority();
    let mut told = Vec::new();
    for outbox in rig.store.outboxes(&authority) {
        let rows = outbox.oldest(100).await.unwrap();
        let rows = rows.iter().map(|row| (row.tenant, row.version));
        told.push((outbox.database().to_owned(), rows.collect::<Vec<_>>()));
    }
    let of = |tenant: TenantId| (1..=4).map(|version| (tenant, version)).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            ("main".to_owned(), of(main.id)),
            ("bank".to_owned(), of(bank.id)),
            ("eu".to_owned(), vec![]),
        ]
    );
    tell_all(&rig.store).await;
}

async fn a_database_that_was_put_back_counts_on_from_what_was_read(database: Database) {
    let rig = sharded(database).await;
    let (bank, in_bank) = rig.tenant("acme", "bank").await;
    let (main, in_main) = rig.tenant("initech", "main").await;
    // 8 changes of each were read, and both databases know of one.
    let known = Arc::new(AtomicBool::new(false));
    let ids = [bank.id, main.id];
    rig.store.number_after(&authority(), {
        let known = known.clone();
        move |tenant| {
            let read = if ids.contains(&tenant) { 8 } else { 0 };
            known.load(Ordering::Relaxed).then_some(read)
        }
    });
    let early = rig.store.devices(&in_bank).create(&device("a"), NOW).await;
    assert!(early.unwrap_err().is_transient(), "nobody knows yet");
    known.store(true, Ordering::Relaxed);
    for scope in [&in_bank, &in_main] {
        let made = rig.store.devices(scope).create(&device("a"), NOW).await;
        assert_eq!(made.unwrap().since, 9);
        let made = rig.store.devices(scope).create(&device("b"), NOW).await;
        assert_eq!(made.unwrap().since, 10);
    }
}

async fn the_operator_sees_all_databases_as_one(database: Database) {
    let rig = sharded(database).await;
    let operator = operator();
    let mut all = Vec::new();
    for (slug, place) in [("a", "bank"), ("b", "eu"), ("c", "main"), ("d", "eu")] {
        all.push(rig.tenant(slug, place).await.0.id);
    }
    all.sort();
    let tenants = rig.store.tenants(&operator);
    tenants
        .set_state(all[0], TenantState::Suspended, NOW)
        .await
        .unwrap();
    let listed = tenants.list(None, 3).await.unwrap();
    let rest = tenants.list(Some(listed[2].id), 3).await.unwrap();
    let ids: Vec<TenantId> = listed.iter().chain(&rest).map(|t| t.id).collect();
    assert_eq!(ids, all);
    assert_eq!(listed[0].own_state, TenantState::Suspended);
    let own = tenants.find(all[0]).await.unwrap().unwrap();
    assert_eq!(
        (own.version, own.body.slug.as_str()),
        (listed[0].version, listed[0].body.slug.as_str())
    );
    assert_eq!(tenants.count_customers().await.unwrap(), 4);
    let heads = rig.store.audit_heads(&operator);
    let first = heads.list(None, 3).await.unwrap();
    let rest = heads.list(Some(first[2].tenant), 3).await.unwrap();
    let ids: Vec<TenantId> = first.iter().chain(&rest).map(|head| head.tenant).collect();
    assert_eq!(ids, all);
    for id in all {
        let scope = operator.scope(id);
        let query = AuditQuery {
            limit: 9,
            ..AuditQuery::default()
        };
        let entries = rig.store.audit(&scope).list(&query).await;
        assert!(!entries.unwrap().is_empty());
    }
}

async fn a_family_is_in_one_database(database: Database) {
    let rig = sharded(database).await;
    let (head, scope) = rig.tenant("acme", "eu").await;
    let branch = below(&rig.store, &scope, "branch").await;
    assert_eq!(branch.shard.as_deref(), Some("eu"));
    let family = rig.store.family(&scope);
    let elsewhere = family.create(new_in("other", "main"), NOW).await;
    assert!(
        matches!(elsewhere, Err(StoreError::Refused(_))),
        "{elsewhere:?}"
    );
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    let held = tenants
        .set_state(head.id, TenantState::Suspended, NOW)
        .await;
    held.unwrap();
    let below = tenants.find(branch.id).await.unwrap().unwrap();
    assert_eq!(below.body.state, TenantState::Suspended);
    let listed = tenants.list(None, 9).await.unwrap();
    assert!(
        listed
            .iter()
            .all(|t| t.body.state == TenantState::Suspended)
    );
    assert_eq!(family.find("branch").await.unwrap().unwrap().id, branch.id);
    let stranger = rig.tenant("globex", "main").await.1;
    let strangers = rig.store.family(&stranger);
    assert_eq!(strangers.find("branch").await.unwrap(), None);
    let change = TenantChange::Slug {
        slug: "mine".into(),
        until: NOW + DAY,
    };
    let refused = strangers.change(branch.id, None, change, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { .. })));
    rig.tenant("mine", "main").await;
}

async fn a_database_that_is_away_keeps_its_own_waiting_and_no_others(database: Database) {
    let rig = sharded(database).await;
    let (acme, in_acme) = rig.tenant("acme", "eu").await;
    let (_, in_main) = rig.tenant("initech", "main").await;
    for (scope, n) in [(&in_acme, 1), (&in_main, 2)] {
        furnish(&rig.store, scope, n).await;
    }
    let gone = match database {
        Database::Sqlite => "sqlite:/nowhere/at/all.db?mode=rw".to_owned(),
        Database::Postgres => format!("{}_gone", rig.eu.url),
    };
    let mut away = StoreConfig {
        acquire_timeout_ms: 300,
        ..rig.config.clone()
    };
    away.shards.urls.insert("eu".to_owned(), gone);
    let store = Store::open(&away).await.unwrap();
    let source = StoreCredentials(store.clone());
    assert!(
        source.by_token([1; 32]).await.is_err(),
        "not that there is none"
    );
    assert!(source.by_token([2; 32]).await.unwrap().is_some());
    assert!(source.by_token([77; 32]).await.unwrap().is_none());
    let refused = store.devices(&in_acme).create(&device("new"), NOW).await;
    assert!(refused.unwrap_err().is_transient());
    let devices = store.devices(&in_main);
    devices.create(&device("new"), NOW).await.unwrap();
    let (operator, authority) = (operator(), authority());
    let tenants = store.tenants(&operator);
    assert!(tenants.find(acme.id).await.unwrap_err().is_transient());
    let listed = tenants.list(None, 9).await.unwrap();
    assert!(listed.iter().any(|tenant| tenant.id == acme.id));
    assert_eq!(store.closures(&authority).open(9).await.unwrap(), []);
    store.host_proofs(&authority).due(NOW, 9).await.unwrap();
    let claims = store.claims(&authority);
    claims.sweep_names(LATER).await.unwrap();
    assert_eq!(
        claims.sweep_secrets("", LATER, 99).await.unwrap().released,
        0
    );
    let heads = store.audit_heads(&operator).list(None, 9).await;
    assert!(heads.unwrap_err().to_string().contains("the database eu"));
    for outbox in store.outboxes(&authority) {
        let told = outbox.oldest(9).await;
        assert_eq!(told.is_ok(), outbox.database() != "eu");
    }
}

/// As where its address leads to a new one by mistake.
async fn a_database_that_is_not_the_one_that_it_was_says_nothing(database: Database) {
    let rig = sharded(database).await;
    let (acme, scope) = rig.tenant("acme", "bank").await;
    furnish(&rig.store, &scope, 1).await;
    prove(&rig.store, &scope, "tracks.example.com")
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (url, name) = match database {
        Database::Sqlite => {
            let file = folder.path().join("later/bank.db");
            (format!("sqlite:{}", file.display()), String::new())
        }
        Database::Postgres => {
            let url = format!("{}_later", rig.bank.url);
            let name = url.rsplit('/').next().unwrap().to_owned();
            (url, name)
        }
    };
    let mut mistaken = StoreConfig {
        acquire_timeout_ms: 1000,
        ..rig.config.clone()
    };
    mistaken.shards.urls.insert("bank".to_owned(), url);
    // It is away at the start, and then it is there.
    let store = Store::open(&mistaken).await.unwrap();
    match database {
        Database::Sqlite => std::fs::create_dir(folder.path().join("later")).unwrap(),
        Database::Postgres => {
            let mut connection = AnyConnection::connect(&rig.main.url).await.unwrap();
            let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::query(create).execute(&mut connection).await.unwrap();
        }
    }
    store.health().await.unwrap();
    let source = StoreCredentials(store.clone());
    let refused = source.by_token([1; 32]).await.unwrap_err().to_string();
    assert!(refused.contains("is not the one that it was"), "{refused}");
    let devices = store.devices(&scope).list(None, 9).await;
    assert!(devices.unwrap_err().is_transient());
    let (operator, authority) = (operator(), authority());
    let tenants = store.tenants(&operator);
    let suspended = tenants.set_state(acme.id, TenantState::Suspended, NOW);
    assert!(suspended.await.unwrap_err().is_transient());
    let claims = store.claims(&authority);
    assert_eq!(claims.sweep_names(LATER).await.unwrap(), 0);
    let swept = claims.sweep_secrets("", LATER, 99).await.unwrap();
    assert_eq!(swept.released, 0, "what it lacks says nothing");
    let refused = Store::open(&mistaken).await.err().unwrap().to_string();
    let what = "store.shards.urls, bank: this is not the database in which the tenant ";
    assert!(refused.contains(what), "{refused}");
    // With the right one everything is as it was.
    let source = StoreCredentials(rig.store.clone());
    assert!(source.by_token([1; 32]).await.unwrap().is_some());
}
