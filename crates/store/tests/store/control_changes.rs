//! Tenants, devices, credentials, keys and destinations, and the changes they leave.

use crate::support::{Database, NOW, Rig, authority, operator, rig};
use laneway_schemas::ControlKind;
use laneway_store::{NewDestination, NewSecret, StoreCredentials, StoreError};
use laneway_tenancy::control::{DestinationBody, DestinationState, Limits, TenantState};
use laneway_tenancy::{
    CredentialId, CredentialSource, DestinationId, DeviceId, Grant, Grants, KeyId, StoredPrincipal,
    TenantScope,
};

on_both!(
    changes_of_a_tenant_are_numbered_without_a_gap_and_leave_in_order,
    a_failed_change_leaves_neither_a_row_nor_a_number,
    concurrent_changes_of_a_tenant_keep_their_order,
    what_is_anothers_looks_like_what_does_not_exist,
    a_slug_is_unique_over_all_tenants,
    a_removed_device_takes_its_credentials_with_it,
    a_new_password_takes_the_old_ones_place,
    tokens_keys_and_passwords_are_found_only_by_what_was_presented,
    secrets_of_destinations_are_kept_encrypted,
    pages_go_on_where_the_last_one_ended,
    a_lease_has_one_owner_until_it_runs_out,
    a_generated_setting_is_the_same_for_all,
    demands_of_all_nodes_add_up,
);

fn device(id: &str) -> DeviceId {
    id.parse().unwrap()
}

async fn versions(rig: &Rig, scope: &TenantScope) -> Vec<i64> {
    let rows = rig.store.outbox(&authority()).oldest(1000).await.unwrap();
    rows.iter()
        .filter(|r| r.tenant == scope.tenant())
        .map(|r| r.version)
        .collect()
}

async fn changes_of_a_tenant_are_numbered_without_a_gap_and_leave_in_order(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let mut changed = rig.store.outbox(&authority()).changed();
    rig.store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    assert!(changed.has_changed().unwrap(), "the relay is woken");
    changed.mark_unchanged();
    let limits = Limits {
        events_per_second: 7,
        ..Limits::default()
    };
    rig.store
        .tenants(&operator())
        .set_limits(tenant.id, limits, NOW + 1)
        .await
        .unwrap();
    rig.store
        .devices(&scope)
        .delete(&device("truck"), NOW + 2)
        .await
        .unwrap();
    let rows = rig.store.outbox(&authority()).oldest(10).await.unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|r| (r.version, r.kind, r.id.as_str(), r.deleted))
        .collect();
    let id = tenant.id.to_string();
    assert_eq!(
        seen,
        [
            (1, ControlKind::Tenant, id.as_str(), false),
            (2, ControlKind::Device, "truck", false),
            (3, ControlKind::Tenant, id.as_str(), false),
            (4, ControlKind::Device, "truck", true),
        ]
    );
    assert_eq!(rows[1].body, r#"{"since":2}"#);
    assert_eq!(rows[3].body, r#"{"since":2}"#, "what is judged by its life");
    assert_eq!(rows[3].effective_from, NOW + 2);
    rig.store
        .outbox(&authority())
        .relayed(&rows[..3])
        .await
        .unwrap();
    assert_eq!(versions(&rig, &scope).await, [4]);
}

async fn a_failed_change_leaves_neither_a_row_nor_a_number(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    rig.store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    let again = rig
        .store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    let missing = rig.store.devices(&scope).delete(&device("van"), NOW).await;
    assert!(
        matches!(missing, Err(StoreError::Missing { .. })),
        "{missing:?}"
    );
    assert_eq!(versions(&rig, &scope).await, [1, 2]);
    let now = rig
        .store
        .tenants(&operator())
        .find(tenant.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(now.control_version, 2);
}

async fn concurrent_changes_of_a_tenant_keep_their_order(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..40 {
        let (store, scope) = (rig.store.clone(), scope.clone());
        tasks.spawn(async move {
            store
                .devices(&scope)
                .create(&device(&format!("d{i}")), NOW)
                .await
                .unwrap()
        });
    }
    tasks.join_all().await;
    assert_eq!(versions(&rig, &scope).await, (1..=41).collect::<Vec<i64>>());
}

async fn what_is_anothers_looks_like_what_does_not_exist(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    rig.store
        .devices(&theirs)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    let key = KeyId::from_u128(1);
    rig.store
        .keys(&theirs)
        .create(key, "k", Grants::of([Grant::StreamRead]), [1; 32], NOW)
        .await
        .unwrap();
    assert_eq!(
        rig.store
            .devices(&mine)
            .find(&device("truck"))
            .await
            .unwrap(),
        None
    );
    assert_eq!(rig.store.devices(&mine).list(None, 10).await.unwrap(), []);
    assert_eq!(rig.store.keys(&mine).list(None, 10).await.unwrap(), []);
    assert!(matches!(
        rig.store.devices(&mine).delete(&device("truck"), NOW).await,
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        rig.store.keys(&mine).delete(key, NOW).await,
        Err(StoreError::Missing { .. })
    ));
    let secret = NewSecret::Token([9; 32]);
    let foreign = rig
        .store
        .credentials(&mine)
        .create(CredentialId::from_u128(1), &device("truck"), secret, NOW)
        .await;
    assert!(matches!(foreign, Err(StoreError::Missing { .. })));
    // The same ids are free to use.
    rig.store
        .devices(&mine)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    assert_eq!(
        rig.store
            .devices(&theirs)
            .list(None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn a_slug_is_unique_over_all_tenants(database: Database) {
    let rig = rig(database).await;
    let (first, _) = rig.tenant("acme").await;
    let mut again = first.clone();
    again.id = laneway_tenancy::TenantId::from_u128(5);
    let new = laneway_store::NewTenant {
        id: again.id,
        slug: "acme".into(),
        placement: again.body.placement,
        limits: Limits::default(),
    };
    let refused = rig.store.tenants(&operator()).create(new, NOW).await;
    assert!(
        matches!(refused, Err(StoreError::Exists { .. })),
        "{refused:?}"
    );
    let found = rig
        .store
        .tenants(&operator())
        .by_slug("acme")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, first);
}

async fn a_removed_device_takes_its_credentials_with_it(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let credentials = StoreCredentials(rig.store.clone());
    rig.store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    let id = CredentialId::from_u128(4);
    rig.store
        .credentials(&scope)
        .create(id, &device("truck"), NewSecret::Token([4; 32]), NOW)
        .await
        .unwrap();
    assert!(credentials.by_token([4; 32]).await.unwrap().is_some());
    rig.store
        .devices(&scope)
        .delete(&device("truck"), NOW)
        .await
        .unwrap();
    assert!(credentials.by_token([4; 32]).await.unwrap().is_none());
    let gone = rig.store.outbox(&authority()).oldest(100).await.unwrap();
    assert!(
        gone.iter()
            .any(|r| r.kind == ControlKind::Credential && r.id == id.to_string() && r.deleted)
    );
    assert_eq!(versions(&rig, &scope).await, [1, 2, 3, 4, 5]);
}

async fn a_new_password_takes_the_old_ones_place(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let credentials = StoreCredentials(rig.store.clone());
    rig.store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    for (id, hash) in [(1, "$first"), (2, "$second")] {
        let secret = NewSecret::Password(hash.into());
        rig.store
            .credentials(&scope)
            .create(CredentialId::from_u128(id), &device("truck"), secret, NOW)
            .await
            .unwrap();
    }
    let login = credentials
        .by_login("acme", "truck")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (login.password_hash.as_str(), login.credential),
        ("$second", CredentialId::from_u128(2))
    );
    let all = rig
        .store
        .credentials(&scope)
        .of_device(&device("truck"))
        .await
        .unwrap();
    assert_eq!(all.len(), 1);
}

async fn tokens_keys_and_passwords_are_found_only_by_what_was_presented(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let credentials = StoreCredentials(rig.store.clone());
    rig.store
        .devices(&scope)
        .create(&device("truck"), NOW)
        .await
        .unwrap();
    let grants = Grants::of([Grant::StreamRead, Grant::PositionsRead]);
    rig.store
        .keys(&scope)
        .create(KeyId::from_u128(7), "k", grants, [7; 32], NOW)
        .await
        .unwrap();
    let key = credentials.by_token([7; 32]).await.unwrap().unwrap();
    assert_eq!(
        key.principal,
        StoredPrincipal::Key {
            id: KeyId::from_u128(7),
            grants
        }
    );
    assert_eq!(
        (key.tenant.id, key.tenant.slug.as_str(), key.control_version),
        (tenant.id, "acme", 3)
    );
    assert!(credentials.by_token([8; 32]).await.unwrap().is_none());
    assert!(
        credentials
            .by_login("acme", "truck")
            .await
            .unwrap()
            .is_none()
    );
    assert!(credentials.by_login("", "").await.unwrap().is_none());
    rig.store
        .tenants(&operator())
        .set_state(tenant.id, TenantState::Suspended, NOW)
        .await
        .unwrap();
    let key = credentials.by_token([7; 32]).await.unwrap().unwrap();
    assert_eq!(key.tenant.body.state, TenantState::Suspended);
}

async fn secrets_of_destinations_are_kept_encrypted(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let id = DestinationId::from_u128(3);
    let new = NewDestination {
        id,
        body: DestinationBody {
            kind: "webhook".into(),
            state: DestinationState::Active,
            event_types: vec!["laneway.position".into()],
            devices: vec![],
        },
        url: "https://example.com/hook".into(),
        secret: "whsec_very_secret".into(),
    };
    let created = rig
        .store
        .destinations(&scope)
        .create(new.clone(), NOW)
        .await
        .unwrap();
    assert_eq!(
        rig.store.destinations(&scope).find(id).await.unwrap(),
        Some(created)
    );
    assert_eq!(
        rig.store
            .destinations(&scope)
            .secret(id)
            .await
            .unwrap()
            .as_deref(),
        Some("whsec_very_secret")
    );
    assert_eq!(
        rig.store.destinations(&other).secret(id).await.unwrap(),
        None
    );
    let changed = rig
        .store
        .destinations(&scope)
        .set_state(id, DestinationState::Disabled, NOW)
        .await
        .unwrap();
    assert_eq!(changed.body.state, DestinationState::Disabled);
    let outbox = rig.store.outbox(&authority()).oldest(100).await.unwrap();
    assert!(
        outbox
            .iter()
            .all(|r| !r.body.contains("secret") && !r.body.contains("example.com"))
    );
    rig.store
        .destinations(&scope)
        .delete(id, NOW)
        .await
        .unwrap();
    assert_eq!(
        rig.store.destinations(&scope).list(None, 10).await.unwrap(),
        []
    );
    if database == Database::Sqlite {
        rig.store
            .destinations(&scope)
            .create(new, NOW)
            .await
            .unwrap();
        let path = rig.empty.url.strip_prefix("sqlite:").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap());
        assert!(!bytes.windows(11).any(|w| w == b"very_secret"));
    }
}

async fn pages_go_on_where_the_last_one_ended(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    for i in 0..7 {
        rig.store
            .devices(&scope)
            .create(&device(&format!("d{i}")), NOW)
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = rig
            .store
            .devices(&scope)
            .list(after.as_ref(), 3)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        seen.extend(page.into_iter().map(|d| d.id.to_string()));
    }
    assert_eq!(seen, ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]);
}

async fn a_lease_has_one_owner_until_it_runs_out(database: Database) {
    let rig = rig(database).await;
    let (store, authority) = (&rig.store, authority());
    let leases = store.leases(&authority);
    assert!(leases.take("relay", "a", 1000, 500).await.unwrap());
    assert!(!leases.take("relay", "b", 1400, 500).await.unwrap());
    assert!(
        leases.take("relay", "a", 1400, 500).await.unwrap(),
        "its owner renews it"
    );
    assert!(!leases.take("relay", "b", 1899, 500).await.unwrap());
    assert!(leases.take("relay", "b", 1900, 500).await.unwrap());
    leases.release("relay", "a").await.unwrap();
    assert!(
        !leases.take("relay", "a", 1901, 500).await.unwrap(),
        "only the owner releases it"
    );
    leases.release("relay", "b").await.unwrap();
    assert!(leases.take("relay", "a", 1902, 500).await.unwrap());
}

async fn a_generated_setting_is_the_same_for_all(database: Database) {
    let rig = rig(database).await;
    let authority = authority();
    assert_eq!(
        rig.store
            .settings(&authority)
            .get("hash_key")
            .await
            .unwrap(),
        None
    );
    let (one, two) = tokio::join!(
        async {
            rig.store
                .settings(&authority)
                .get_or_insert("hash_key", b"one")
                .await
                .unwrap()
        },
        async {
            rig.store
                .settings(&authority)
                .get_or_insert("hash_key", b"two")
                .await
                .unwrap()
        },
    );
    assert_eq!(one, two);
    assert_eq!(
        rig.store
            .settings(&authority)
            .get("hash_key")
            .await
            .unwrap(),
        Some(one)
    );
}

async fn demands_of_all_nodes_add_up(database: Database) {
    let rig = rig(database).await;
    let (first, _) = rig.tenant("first").await;
    let (second, _) = rig.tenant("second").await;
    let authority = authority();
    let shares = rig.store.rate_shares(&authority);
    shares
        .exchange("a", &[(first.id, 100), (second.id, 5)], NOW, NOW + 2000)
        .await
        .unwrap();
    let seen = shares
        .exchange("b", &[(first.id, 300)], NOW, NOW + 1000)
        .await
        .unwrap();
    assert_eq!(
        seen.iter()
            .map(|s| (s.tenant, s.total, s.nodes))
            .collect::<Vec<_>>(),
        [(first.id, 400, 2)]
    );
    let alone = shares
        .exchange("a", &[(first.id, 50)], NOW + 1500, NOW + 3500)
        .await
        .unwrap();
    assert_eq!(
        alone
            .iter()
            .map(|s| (s.tenant, s.total, s.nodes))
            .collect::<Vec<_>>(),
        [(first.id, 50, 1)]
    );
}
