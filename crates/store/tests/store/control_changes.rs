//! Tenants and what belongs to them, and the changes they leave.

use crate::support::{NOW, authority, device, new_key, operator, rig};
use laneway_schemas::ControlKind;
use laneway_store::{NewSecret, StoreError};
use laneway_tenancy::control::Limits;
use laneway_tenancy::{CredentialId, Grant, Grants, KeyId};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    changes_of_a_tenant_are_numbered_without_a_gap_and_leave_in_order,
    a_failed_change_leaves_neither_a_row_nor_a_number,
    concurrent_changes_of_a_tenant_keep_their_order,
    what_is_anothers_looks_like_what_does_not_exist,
    a_slug_is_unique_over_all_tenants,
    pages_go_on_where_the_last_one_ended,
);

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
    assert_eq!(rig.versions(&scope).await, [4]);
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
    assert_eq!(rig.versions(&scope).await, [1, 2]);
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
    assert_eq!(rig.versions(&scope).await, (1..=41).collect::<Vec<i64>>());
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
        .create(new_key(key, Grants::of([Grant::StreamRead]), [1; 32]), NOW)
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
    let new = laneway_store::NewTenant::plain(again.id, "acme", again.body.placement);
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
