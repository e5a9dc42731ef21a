//! Credentials of devices, each for its time.

use crate::support::{NOW, authority, device, operator, rig};
use laneway_schemas::ControlKind;
use laneway_store::{
    Credential, CredentialKind, DeviceChange, NewCredential, NewSecret, NewTenant,
    StoreCredentials, StoreError, TenantChange,
};
use laneway_tenancy::{
    CredentialId, CredentialSource, CredentialUse, NOTED_EVERY_US, Placement, SecretId,
    StoredPrincipal, TenantId, Validity,
};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    while_passwords_rotate_both_are_there_and_the_others_are_told_to_end,
    a_device_has_no_more_credentials_than_it_may_and_ended_ones_make_room,
    a_disabled_device_shows_in_its_credentials,
    a_use_is_noted_once_in_a_while,
    a_device_logs_in_under_the_name_that_its_tenant_had_until_lately,
);

fn password(id: u128, valid: Validity, others_end: Option<i64>) -> NewCredential {
    NewCredential {
        id: CredentialId::from_u128(id),
        secret: NewSecret::Password(format!("$hash-{id}")),
        valid,
        others_end,
    }
}

async fn while_passwords_rotate_both_are_there_and_the_others_are_told_to_end(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let truck = device("truck");
    rig.store.devices(&scope).create(&truck, NOW).await.unwrap();
    let credentials = rig.store.credentials(&scope);
    let forever = Validity::default();
    for new in [
        password(1, forever, Some(NOW)),
        password(2, forever, Some(NOW + 60)),
    ] {
        credentials.add(&truck, new, NOW).await.unwrap();
    }
    let source = StoreCredentials(rig.store.clone());
    let login = source
        .by_login("acme", "truck", NOW)
        .await
        .unwrap()
        .unwrap();
    let found: Vec<_> = login
        .passwords
        .iter()
        .map(|p| (p.hash.as_str(), p.valid.expires_at))
        .collect();
    assert_eq!(found, [("$hash-2", None), ("$hash-1", Some(NOW + 60))]);
    let rows = rig.store.outbox(&authority()).oldest(100).await.unwrap();
    let of_first = |row: &&laneway_store::OutboxRow| {
        row.kind == ControlKind::Credential && row.id == CredentialId::from_u128(1).to_string()
    };
    assert_eq!(
        rows.iter().filter(of_first).count(),
        2,
        "made, then bounded"
    );
    assert_eq!(rig.versions(&scope).await, [1, 2, 3, 4, 5]);
    // What ends sooner by itself is not drawn out.
    credentials
        .add(&truck, password(3, forever, Some(NOW + 90)), NOW)
        .await
        .unwrap();
    let ends: Vec<_> = credentials.of_device(&truck).await.unwrap();
    let ends: Vec<_> = ends.iter().map(|c| c.valid.expires_at).collect();
    assert_eq!(ends, [Some(NOW + 60), Some(NOW + 90), None]);
}

async fn a_device_has_no_more_credentials_than_it_may_and_ended_ones_make_room(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let truck = device("truck");
    rig.store.devices(&scope).create(&truck, NOW).await.unwrap();
    let credentials = rig.store.credentials(&scope);
    let until = |at| Validity {
        not_before: None,
        expires_at: Some(at),
    };
    for id in 1..=4 {
        let new = password(id, until(NOW + 10), None);
        credentials.add(&truck, new, NOW).await.unwrap();
    }
    let fifth = || password(5, Validity::default(), None);
    let refused = credentials.add(&truck, fifth(), NOW + 9).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    credentials.add(&truck, fifth(), NOW + 10).await.unwrap();
    let left = credentials.of_device(&truck).await.unwrap();
    let ids: Vec<_> = left.iter().map(|c| c.id.as_u128()).collect();
    assert_eq!(ids, [5]);
    for n in 0..15 {
        let hash = NewSecret::Token([n; 32]);
        let id = CredentialId::from_u128(100 + u128::from(n));
        credentials.create(id, &truck, hash, NOW).await.unwrap();
    }
    let one_more = CredentialId::from_u128(200);
    let refused = credentials
        .create(one_more, &truck, NewSecret::Token([99; 32]), NOW)
        .await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    let versions = rig.versions(&scope).await;
    assert!(versions.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

async fn a_disabled_device_shows_in_its_credentials(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let truck = device("truck");
    rig.store.devices(&scope).create(&truck, NOW).await.unwrap();
    let credentials = rig.store.credentials(&scope);
    let token = NewSecret::Token([4; 32]);
    credentials
        .create(CredentialId::from_u128(4), &truck, token, NOW)
        .await
        .unwrap();
    credentials
        .add(&truck, password(5, Validity::default(), None), NOW)
        .await
        .unwrap();
    let source = StoreCredentials(rig.store.clone());
    for expected in [true, false] {
        let change = DeviceChange {
            disabled: Some(expected),
            ..DeviceChange::default()
        };
        let changed: Result<_, StoreError> = rig
            .store
            .devices(&scope)
            .change(&truck, NOW, |_| Ok(change))
            .await;
        changed.unwrap();
        let token = source.by_token([4; 32]).await.unwrap().unwrap();
        let StoredPrincipal::Device { disabled, .. } = token.principal else {
            panic!("a device's token");
        };
        let login = source
            .by_login("acme", "truck", NOW)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((disabled, login.disabled), (expected, expected));
    }
    let rows = rig.store.outbox(&authority()).oldest(100).await.unwrap();
    let bodies: Vec<&str> = rows
        .iter()
        .filter(|row| row.kind == ControlKind::Device)
        .map(|row| row.body.as_str())
        .collect();
    let (on, off) = (r#"{"since":2}"#, r#"{"since":2,"disabled":true}"#);
    assert_eq!(bodies, [on, off, on]);
}

async fn a_use_is_noted_once_in_a_while(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let truck = device("truck");
    rig.store.devices(&scope).create(&truck, NOW).await.unwrap();
    let credentials = rig.store.credentials(&scope);
    for n in [1, 2] {
        let id = CredentialId::from_u128(n);
        let token = NewSecret::Token([n as u8; 32]);
        credentials.create(id, &truck, token, NOW).await.unwrap();
    }
    let used = |n, at| CredentialUse {
        tenant: tenant.id,
        secret: SecretId::Credential(CredentialId::from_u128(n)),
        at,
    };
    let (first, soon, late) = (NOW + 1, NOW + NOTED_EVERY_US, NOW + NOTED_EVERY_US + 2);
    for (uses, expected) in [
        (vec![used(1, first), used(9, first)], Some(first)),
        (vec![used(1, soon)], Some(first)),
        (vec![used(1, late)], Some(late)),
    ] {
        rig.store.note_uses(&authority(), &uses).await.unwrap();
        let all: Vec<Credential> = credentials.of_device(&truck).await.unwrap();
        let last: Vec<_> = all.iter().map(|c| (c.kind, c.last_used_at)).collect();
        let token = CredentialKind::Token;
        assert_eq!(last, [(token, expected), (token, None)]);
    }
}

async fn a_device_logs_in_under_the_name_that_its_tenant_had_until_lately(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let truck = device("truck");
    rig.store.devices(&scope).create(&truck, NOW).await.unwrap();
    let credentials = rig.store.credentials(&scope);
    let new = password(1, Validity::default(), None);
    credentials.add(&truck, new, NOW).await.unwrap();
    let change = TenantChange::Slug {
        slug: "acme-trucks".to_owned(),
        until: NOW + 100,
    };
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    tenants.change(tenant.id, None, change, NOW).await.unwrap();
    let source = StoreCredentials(rig.store.clone());
    for (slug, at, found) in [
        ("acme-trucks", NOW + 100, true),
        ("acme", NOW + 99, true),
        ("acme", NOW + 100, false),
        ("nobody", NOW, false),
    ] {
        let login = source.by_login(slug, "truck", at).await.unwrap();
        assert_eq!(login.is_some(), found, "{slug}");
        let slugs = login.map(|login| (login.tenant.id, login.tenant.slug));
        assert!(slugs.is_none_or(|found| found == (tenant.id, "acme-trucks".to_owned())));
    }
    // Whose name it is now is whose devices log in under it.
    let id = TenantId::from_u128(9);
    let other = NewTenant::plain(id, "acme", Placement::first(id, 1, 24));
    tenants.create(other, NOW + 200).await.unwrap();
    let login = source.by_login("acme", "truck", NOW + 200).await.unwrap();
    assert!(login.is_none());
}
