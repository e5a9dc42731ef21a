//! The audit trail: nothing is lost, nothing can be changed, and what is personal can go.

use std::sync::Arc;
use std::time::Duration;

use laneway_store::audit::{
    AuditEntry, AuditQuery, Denial, Denials, Facts, Origin, Personal, Verifier, Who, acting,
};
use laneway_tenancy::control::TenantState;
use laneway_tenancy::{KeyId, TenantScope};
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use sqlx::{AnyConnection, Connection};

use crate::support::{NOW, Rig, config, device, operator, rig};

laneway_testkit::on_both_databases!(
    a_change_is_in_the_trail_with_who_made_it_and_from_where,
    a_change_that_is_not_made_is_not_in_the_trail,
    entries_that_come_at_once_have_neither_gaps_nor_forks,
    an_entry_can_neither_be_changed_nor_removed,
    what_is_personal_can_be_erased_and_the_chain_still_verifies,
    of_a_tenant_that_is_being_closed_nothing_personal_is_kept_any_more,
    entries_are_found_by_time_action_and_principal,
    refusals_are_written_once_and_counted_after_that,
    a_truncated_chain_is_noticed_by_its_noted_head,
);

/// A request of the key 7 of `scope`'s tenant.
fn origin(scope: &TenantScope) -> Arc<Origin> {
    let personal = Personal {
        address: Some("192.0.2.7".into()),
        user_agent: Some("curl/8".into()),
        name: None,
    };
    let origin = Origin::new("POST /devices", "", "request-1", personal);
    origin.is_by(Who {
        principal: key(),
        tenant: Some(scope.tenant()),
    });
    origin.is_for(scope.tenant());
    Arc::new(origin)
}

fn key() -> String {
    format!("key:{}", KeyId::from_u128(7))
}

async fn all(rig: &Rig, scope: &TenantScope) -> Vec<AuditEntry> {
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    rig.store.audit(scope).list(&query).await.unwrap()
}

fn verify(entries: &[AuditEntry]) -> i64 {
    let mut verifier = Verifier::new(None);
    for entry in entries {
        let line = serde_json::to_string(entry).unwrap();
        verifier.line(&line).unwrap();
    }
    verifier.finish().unwrap().entries
}

async fn add_device(rig: &Rig, scope: &TenantScope, id: &str) {
    let create = async {
        let devices = rig.store.devices(scope);
        devices.create(&device(id), NOW).await.unwrap();
    };
    acting(origin(scope), create).await;
}

async fn a_change_is_in_the_trail_with_who_made_it_and_from_where(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    add_device(&rig, &scope, "truck").await;
    let entries = all(&rig, &scope).await;
    assert_eq!(verify(&entries), 2, "the tenant's creation, and the device");
    let [_, entry] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    let facts = &entry.facts;
    assert_eq!(facts.action, "POST /devices");
    assert_eq!(facts.outcome, "done");
    assert_eq!(facts.principal, key());
    assert_eq!(facts.principal_tenant, tenant.id.to_string());
    assert_eq!(facts.request_tenant, tenant.id.to_string());
    assert_eq!(
        facts.detail,
        r#"{"changes":[{"kind":"device","id":"truck"}]}"#
    );
    let address = entry.personal.address.as_ref().unwrap();
    assert_eq!(address.value, "192.0.2.7");
    assert!(!serde_json::to_string(facts).unwrap().contains("192.0.2.7"));
    assert_eq!(verify(&all(&rig, &other).await), 1, "a chain of its own");
    // What no request asked for is in it, too.
    let devices = rig.store.devices(&scope);
    devices.delete(&device("truck"), NOW).await.unwrap();
    let entries = all(&rig, &scope).await;
    assert_eq!(verify(&entries), 3);
    assert_eq!(entries[2].facts.principal, "role:platform");
}

async fn a_change_that_is_not_made_is_not_in_the_trail(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    add_device(&rig, &scope, "truck").await;
    let origin = origin(&scope);
    let again = async {
        let devices = rig.store.devices(&scope);
        assert!(devices.create(&device("truck"), NOW).await.is_err());
    };
    acting(origin.clone(), again).await;
    assert!(!origin.is_recorded());
    assert_eq!(verify(&all(&rig, &scope).await), 2);
}

async fn entries_that_come_at_once_have_neither_gaps_nor_forks(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    // Two processes on one database.
    let second = laneway_store::Store::open(&config(&rig.empty.url, 4))
        .await
        .unwrap();
    let mut tasks = Vec::new();
    for n in 0..40 {
        let store = [&rig.store, &second][n % 2].clone();
        let scope = scope.clone();
        tasks.push(tokio::spawn(async move {
            let devices = store.devices(&scope);
            let id = device(&format!("truck-{n}"));
            acting(origin(&scope), devices.create(&id, NOW))
                .await
                .unwrap();
            let facts = origin(&scope).facts("403 forbidden", NOW);
            let trail = store.audit(&scope);
            trail.append(facts, &Personal::default()).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let entries = all(&rig, &scope).await;
    assert_eq!(verify(&entries), 81);
    let operator = operator();
    let heads = rig.store.audit_heads(&operator);
    let heads = heads.list(None, 10).await.unwrap();
    let head = heads.iter().find(|h| h.tenant == scope.tenant()).unwrap();
    assert_eq!((head.entries, &head.hash), (81, &entries[80].hash));
}

async fn an_entry_can_neither_be_changed_nor_removed(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    add_device(&rig, &scope, "truck").await;
    let mut connection = AnyConnection::connect(&rig.empty.url).await.unwrap();
    let tenant = scope.tenant();
    for statement in [
        format!("UPDATE audit_entries SET principal = 'x' WHERE tenant_id = '{tenant}'"),
        format!("DELETE FROM audit_entries WHERE tenant_id = '{tenant}'"),
        "INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries WHERE seq = 1".to_owned(),
    ] {
        let replaces = statement.starts_with("INSERT");
        if replaces && database == Database::Postgres {
            continue;
        }
        let mut tx = connection.begin().await.unwrap();
        if database == Database::Postgres {
            let set = format!(
                "SELECT set_config('role', 'laneway_app', true), set_config('laneway.tenant', '{tenant}', true)"
            );
            sqlx::query(sqlx::AssertSqlSafe(set))
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        let tried = sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&mut *tx)
            .await;
        let refused = tried.unwrap_err().to_string();
        assert!(
            refused.contains("permission denied") || refused.contains("cannot be"),
            "{statement}: {refused}"
        );
        tx.rollback().await.unwrap();
    }
    assert_eq!(verify(&all(&rig, &scope).await), 2);
}

async fn what_is_personal_can_be_erased_and_the_chain_still_verifies(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    for scope in [&scope, &other] {
        add_device(&rig, scope, "truck").await;
    }
    let before = all(&rig, &scope).await;
    let erased = rig.store.audit(&scope).erase_personal(&key()).await;
    assert_eq!(erased.unwrap(), 2);
    let after = all(&rig, &scope).await;
    assert_eq!(verify(&after), 2);
    assert_eq!(after[1].hash, before[1].hash);
    let exported = serde_json::to_string(&after).unwrap();
    assert!(!exported.contains("192.0.2.7") && !exported.contains("curl"));
    assert!(all(&rig, &other).await[1].personal.address.is_some());
    // Nobody can guess the address from its commitment: the salt is gone, and was its own.
    assert_ne!(
        before[1].commitments.address,
        all(&rig, &other).await[1].commitments.address
    );
}

async fn of_a_tenant_that_is_being_closed_nothing_personal_is_kept_any_more(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    let closing = tenants.set_state(tenant.id, TenantState::Closing, NOW);
    closing.await.unwrap();
    // What was refused before is written later.
    add_device(&rig, &scope, "truck").await;
    let entries = all(&rig, &scope).await;
    assert_eq!(verify(&entries), 3);
    let last = &entries[2];
    assert_eq!(last.facts.principal, key());
    assert!(last.personal.address.is_none() && !last.commitments.address.is_empty());
}

async fn entries_are_found_by_time_action_and_principal(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let trail = rig.store.audit(&scope);
    for (at, action, principal) in [
        (10, "POST /devices", "key:a"),
        (20, "POST /keys", "key:a"),
        (30, "POST /devices", "key:b"),
    ] {
        let facts = Facts {
            at,
            action: action.into(),
            principal: principal.into(),
            count: 1,
            ..Facts::default()
        };
        trail.append(facts, &Personal::default()).await.unwrap();
    }
    let find = async |query: AuditQuery| -> Vec<i64> {
        let query = AuditQuery { limit: 10, ..query };
        let found = trail.list(&query).await.unwrap();
        found.iter().map(|entry| entry.facts.at).collect()
    };
    let none = AuditQuery::default;
    let by = |action: &str, principal: &str| AuditQuery {
        action: action.into(),
        principal: principal.into(),
        until: Some(1000),
        ..none()
    };
    assert_eq!(find(by("POST /devices", "")).await, [10, 30]);
    assert_eq!(find(by("", "key:a")).await, [10, 20]);
    assert_eq!(find(by("POST /devices", "key:b")).await, [30]);
    let times = AuditQuery {
        since: Some(20),
        until: Some(30),
        ..none()
    };
    assert_eq!(find(times).await, [20]);
    let after = AuditQuery { after: 3, ..none() };
    assert_eq!(find(after).await, [30]);
}

async fn refusals_are_written_once_and_counted_after_that(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let denials = Arc::new(Denials::new(rig.store.clone()));
    let denial = |named: &str, at: i64| Denial {
        chain: scope.tenant(),
        facts: Facts {
            at,
            outcome: "403 tenant-mismatch".into(),
            principal: "device:truck".into(),
            request_tenant: named.into(),
            ..Facts::default()
        },
        personal: Personal::default(),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = denials.clone();
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        writer.run(|| NOW, stopped).await;
    });
    denials.note(denial("theirs", NOW));
    until("the first", Duration::from_secs(20), || async {
        all(&rig, &scope).await.len() == 2
    })
    .await
    .unwrap();
    for n in 0..100_000 {
        denials.note(denial("theirs", NOW + n));
        denials.note(denial(&format!("name-{n}"), NOW + n));
    }
    drop(stop);
    task.await.unwrap();
    let entries = all(&rig, &scope).await;
    verify(&entries);
    assert!(entries.len() < 40, "{} entries", entries.len());
    let counted: i64 = entries[1..].iter().map(|e| e.facts.count).sum();
    assert_eq!(counted, 200_001);
    let repeats = entries.iter().find(|e| e.facts.count == 100_000).unwrap();
    assert_eq!(repeats.facts.request_tenant, "theirs");
    assert_eq!(
        (repeats.facts.first_at, repeats.facts.last_at),
        (NOW, NOW + 99_999)
    );
}

async fn a_truncated_chain_is_noticed_by_its_noted_head(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    for n in 0..5 {
        add_device(&rig, &scope, &format!("truck-{n}")).await;
    }
    let entries = all(&rig, &scope).await;
    let head = entries.last().unwrap().hash.clone();
    let mut whole = Verifier::new(Some(&head));
    let mut cut = Verifier::new(Some(&head));
    for entry in &entries {
        whole.entry(entry).unwrap();
    }
    for entry in &entries[..4] {
        cut.entry(entry).unwrap();
    }
    assert!(whole.finish().is_ok());
    assert!(cut.finish().is_err());
}
