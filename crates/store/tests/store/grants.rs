//! Grants are their tenant's; the partner sees them, and can change nothing of them.

use laneway_schemas::ControlKind;
use laneway_store::{NewGrant, StoreError};
use laneway_tenancy::control::GrantBody;
use laneway_tenancy::{GrantId, TenantId};
use laneway_testkit::Database;

use crate::support::{NOW, Rig, authority, operator, rig};

laneway_testkit::on_both_databases!(
    a_grant_is_seen_by_both_sides_and_revoked_by_its_tenant_alone,
    grants_of_a_closed_tenant_are_erased,
    a_tenant_has_a_bounded_number_of_grants,
);

fn new(id: u128, partner: TenantId) -> NewGrant {
    NewGrant {
        id: GrantId::from_u128(id),
        name: format!("grant {id}"),
        body: GrantBody {
            partner,
            event_types: vec!["laneway.position".into()],
            devices: vec!["truck".into()],
            expires_at: NOW + 1_000_000,
        },
    }
}

/// Kind, id and whether it is gone, of the news of grants.
async fn news(rig: &Rig) -> Vec<(TenantId, String, bool)> {
    let rows = rig.store.outbox(&authority()).oldest(1000).await.unwrap();
    let grants = rows.into_iter().filter(|r| r.kind == ControlKind::Grant);
    grants.map(|r| (r.tenant, r.id, r.deleted)).collect()
}

async fn a_grant_is_seen_by_both_sides_and_revoked_by_its_tenant_alone(database: Database) {
    let rig = rig(database).await;
    let (acme, acme_scope) = rig.tenant("acme").await;
    let (globex, globex_scope) = rig.tenant("globex").await;
    let (partner, partner_scope) = rig.tenant("partner").await;
    let (_, stranger) = rig.tenant("stranger").await;
    let store = &rig.store;
    let (of_acme, of_globex) = (store.grants(&acme_scope), store.grants(&globex_scope));
    let one = of_acme.create(new(1, partner.id), NOW).await.unwrap();
    let two = of_globex.create(new(2, partner.id), NOW).await.unwrap();
    assert_eq!((one.tenant, two.tenant), (acme.id, globex.id));
    let listed = store.granted(&partner_scope).list(None, 10).await.unwrap();
    assert_eq!(listed, [one.clone(), two.clone()]);
    let after = store.granted(&partner_scope).list(Some(one.id), 10).await;
    assert_eq!(after.unwrap(), [two]);
    assert_eq!(
        store.grants(&acme_scope).list(None, 10).await.unwrap(),
        std::slice::from_ref(&one)
    );
    assert_eq!(store.granted(&stranger).list(None, 10).await.unwrap(), []);
    for other in [&partner_scope, &globex_scope, &stranger] {
        let found = store.grants(other).find(one.id).await.unwrap();
        assert_eq!(found, None);
        let revoked = store.grants(other).delete(one.id, NOW).await;
        assert!(matches!(revoked, Err(StoreError::Missing { .. })));
    }
    store.grants(&acme_scope).delete(one.id, NOW).await.unwrap();
    let left = store.granted(&partner_scope).list(None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    let id = one.id.to_string();
    let told = news(&rig).await;
    let of_acme: Vec<_> = told.iter().filter(|(t, ..)| *t == acme.id).collect();
    assert_eq!(
        of_acme,
        [&(acme.id, id.clone(), false), &(acme.id, id, true)]
    );
}

async fn grants_of_a_closed_tenant_are_erased(database: Database) {
    let rig = rig(database).await;
    let (acme, acme_scope) = rig.tenant("acme").await;
    let (partner, partner_scope) = rig.tenant("partner").await;
    let grants = rig.store.grants(&acme_scope);
    grants.create(new(1, partner.id), NOW).await.unwrap();
    rig.store
        .closures(&authority())
        .erase(acme.id)
        .await
        .unwrap();
    let left = rig
        .store
        .granted(&partner_scope)
        .list(None, 10)
        .await
        .unwrap();
    assert_eq!(left, []);
}

async fn a_tenant_has_a_bounded_number_of_grants(database: Database) {
    let rig = rig(database).await;
    let (partner, _) = rig.tenant("partner").await;
    let scope = operator().scope(rig.tenant("acme").await.0.id);
    for id in 0..1000 {
        rig.store
            .grants(&scope)
            .create(new(id, partner.id), NOW)
            .await
            .unwrap();
    }
    let refused = rig
        .store
        .grants(&scope)
        .create(new(1000, partner.id), NOW)
        .await;
    assert!(
        matches!(refused, Err(StoreError::LimitReached { .. })),
        "{refused:?}"
    );
}
