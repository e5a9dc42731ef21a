//! Keys, each for its time, and the accounts that they belong to.

use laneway_schemas::ControlKind;
use laneway_store::{
    AccountChange, KeyChange, KeyRotation, NewAccount, NewKey, StoreCredentials, StoreError,
    TenantChange,
};
use laneway_tenancy::options::Options;
use laneway_tenancy::{
    AccountId, CredentialSource, CredentialUse, Grant, Grants, KeyId, SecretId, StoredPrincipal,
};
use laneway_testkit::Database;

use crate::support::{NOW, Rig, authority, new_key, operator, rig};

laneway_testkit::on_both_databases!(
    both_secrets_of_a_rotated_key_are_found_each_for_its_time,
    a_key_holds_no_longer_than_its_tenant_lets_it,
    a_use_of_a_key_is_noted_beside_those_of_credentials,
    a_key_does_what_its_account_may_and_nothing_once_that_is_disabled_or_gone,
);

fn id() -> KeyId {
    KeyId::from_u128(7)
}

/// What the secret with this hash may do, and until when.
async fn holds(rig: &Rig, hash: u8) -> Option<(Grants, Option<i64>)> {
    let source = StoreCredentials(rig.store.clone());
    let found = source.by_token([hash; 32]).await.unwrap()?;
    let valid = found.valid;
    match found.principal {
        StoredPrincipal::Key { id: key, grants } => {
            assert_eq!(key, id());
            Some((grants, valid.expires_at))
        }
        other => panic!("{other:?} is no key"),
    }
}

async fn both_secrets_of_a_rotated_key_are_found_each_for_its_time(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let grants = Grants::of([Grant::StreamRead]);
    rig.key(&scope, id(), grants, [1; 32]).await;
    let rotation = |hash: u8, former_until, expires_at| KeyRotation {
        token_hash: [hash; 32],
        former_until,
        expires_at,
    };
    let keys = rig.store.keys(&scope);
    let rotated = keys.rotate(id(), None, rotation(2, NOW + 60, Some(NOW + 90)), NOW);
    let rotated = rotated.await.unwrap();
    assert_eq!(
        (rotated.former_until, rotated.expires_at),
        (Some(NOW + 60), Some(NOW + 90))
    );
    assert_eq!(holds(&rig, 1).await, Some((grants, Some(NOW + 60))));
    assert_eq!(holds(&rig, 2).await, Some((grants, Some(NOW + 90))));
    // What was before never holds longer than the key did.
    let again = keys.rotate(
        id(),
        Some(rotated.version),
        rotation(3, NOW + 900, None),
        NOW,
    );
    assert_eq!(again.await.unwrap().former_until, Some(NOW + 90));
    assert_eq!(holds(&rig, 1).await, None);
    assert_eq!(holds(&rig, 2).await, Some((grants, Some(NOW + 90))));
    let stale = keys.rotate(id(), Some(rotated.version), rotation(4, NOW, None), NOW);
    assert!(matches!(stale.await, Err(StoreError::Changed { .. })));
    let late = keys.rotate(id(), None, rotation(4, NOW, None), NOW + 91);
    assert!(matches!(late.await, Err(StoreError::Refused(_))));
    let foreign = rig.store.keys(&other);
    let theirs = foreign
        .rotate(id(), None, rotation(4, NOW, None), NOW)
        .await;
    assert!(matches!(theirs, Err(StoreError::Missing { .. })));
    let rows = rig.store.outbox(&authority()).oldest(100).await.unwrap();
    let told = rows.iter().filter(|row| row.kind == ControlKind::Key);
    assert_eq!(told.count(), 3, "made, and rotated twice");
}

async fn a_key_holds_no_longer_than_its_tenant_lets_it(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let options = Options {
        key_lifetime_seconds: 60,
        ..Options::default()
    };
    let settings = TenantChange::Settings {
        name: None,
        plan: None,
        options: Some(options),
    };
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    tenants
        .change(tenant.id, None, settings, NOW)
        .await
        .unwrap();
    let (keys, most) = (rig.store.keys(&scope), NOW + 60_000_000);
    let new = |n: u8, expires_at| NewKey {
        expires_at,
        ..new_key(KeyId::from_u128(n.into()), Grants::NONE, [n; 32])
    };
    for (n, asked, given) in [
        (1, None, most),
        (2, Some(NOW + 5), NOW + 5),
        (3, Some(most), most),
    ] {
        let made = keys.create(new(n, asked), NOW).await.unwrap();
        assert_eq!(made.expires_at, Some(given));
    }
    let longer = keys.create(new(4, Some(most + 1)), NOW).await;
    assert!(matches!(longer, Err(StoreError::Refused(_))));
    let change = |expires_at| KeyChange {
        name: None,
        expires_at: Some(expires_at),
    };
    let second = KeyId::from_u128(2);
    let changed = keys.change(second, None, change(most), NOW).await.unwrap();
    assert_eq!(changed.expires_at, Some(most));
    let longer = keys.change(second, None, change(most + 1), NOW).await;
    assert!(matches!(longer, Err(StoreError::Refused(_))));
}

async fn a_use_of_a_key_is_noted_beside_those_of_credentials(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    rig.key(&scope, id(), Grants::NONE, [1; 32]).await;
    let used = [
        SecretId::Key(id()),
        SecretId::Credential(laneway_tenancy::CredentialId::from_u128(7)),
    ];
    let uses = used.map(|secret| CredentialUse {
        tenant: tenant.id,
        secret,
        at: NOW + 5,
    });
    rig.store.note_uses(&authority(), &uses).await.unwrap();
    let key = rig.store.keys(&scope).find(id()).await.unwrap().unwrap();
    assert_eq!(key.last_used_at, Some(NOW + 5));
}

async fn a_key_does_what_its_account_may_and_nothing_once_that_is_disabled_or_gone(
    database: Database,
) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let account = AccountId::from_u128(1);
    let both = Grants::of([Grant::StreamRead, Grant::DevicesRead]);
    let one = Grants::of([Grant::DevicesRead]);
    let accounts = rig.store.service_accounts(&scope);
    let new = NewAccount {
        id: account,
        name: "reports".into(),
        role: None,
        grants: both,
    };
    let made = accounts.create(new, NOW).await.unwrap();
    let key = |grants| NewKey {
        account: Some(account),
        ..new_key(id(), grants, [1; 32])
    };
    let keys = rig.store.keys(&scope);
    let more = keys.create(key(both.and(Grants::of([Grant::KeysWrite]))), NOW);
    assert!(matches!(more.await, Err(StoreError::Refused(_))));
    let theirs = rig.store.keys(&other).create(key(both), NOW).await;
    assert!(matches!(theirs, Err(StoreError::Missing { .. })));
    keys.create(key(both), NOW).await.unwrap();
    assert_eq!(holds(&rig, 1).await, Some((both, None)));
    let rights = |grants| AccountChange {
        rights: Some((None, grants)),
        ..AccountChange::default()
    };
    let disabled = |disabled| AccountChange {
        disabled: Some(disabled),
        ..AccountChange::default()
    };
    let stale = accounts.change(account, Some(made.version + 1), rights(one), NOW);
    assert!(matches!(stale.await, Err(StoreError::Changed { .. })));
    accounts
        .change(account, Some(made.version), rights(one), NOW)
        .await
        .unwrap();
    assert_eq!(holds(&rig, 1).await, Some((one, None)), "the account's");
    accounts
        .change(account, None, disabled(true), NOW)
        .await
        .unwrap();
    assert_eq!(holds(&rig, 1).await, None, "of a disabled account");
    accounts
        .change(account, None, disabled(false), NOW)
        .await
        .unwrap();
    accounts
        .change(account, None, rights(both), NOW)
        .await
        .unwrap();
    assert_eq!(holds(&rig, 1).await, Some((both, None)), "its own again");
    let versions = rig.versions(&scope).await;
    assert_eq!(
        versions,
        [1, 2, 3, 4, 5, 6],
        "each change is told of its key"
    );
    accounts.delete(account, NOW).await.unwrap();
    assert_eq!(holds(&rig, 1).await, None);
    assert_eq!(keys.find(id()).await.unwrap(), None);
    assert!(accounts.find(account).await.unwrap().is_none());
}
