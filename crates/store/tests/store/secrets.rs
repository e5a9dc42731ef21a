//! Credentials, keys and the secrets of destinations.

use crate::support::{NOW, authority, device, new_key, operator, rig};
use laneway_schemas::ControlKind;
use laneway_store::{NewDestination, NewSecret, StoreCredentials};
use laneway_tenancy::control::{DestinationBody, DestinationState, TenantState};
use laneway_tenancy::{
    CredentialId, CredentialSource, DestinationId, Grant, Grants, KeyId, StoredPrincipal,
};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    a_removed_device_takes_its_credentials_with_it,
    a_new_password_takes_the_old_ones_place,
    tokens_keys_and_passwords_are_found_only_by_what_was_presented,
    secrets_of_destinations_are_kept_encrypted,
);

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
    assert_eq!(rig.versions(&scope).await, [1, 2, 3, 4, 5]);
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
        .by_login("acme", "truck", NOW)
        .await
        .unwrap()
        .unwrap();
    let passwords: Vec<_> = login
        .passwords
        .iter()
        .map(|p| (p.hash.as_str(), p.credential))
        .collect();
    assert_eq!(passwords, [("$second", CredentialId::from_u128(2))]);
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
        .create(new_key(KeyId::from_u128(7), grants, [7; 32]), NOW)
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
            .by_login("acme", "truck", NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(credentials.by_login("", "", NOW).await.unwrap().is_none());
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
            created_at: NOW,
        },
        url: "https://example.com/hook".into(),
        secret: "whsec_very_secret".into(),
    };
    let created = rig
        .store
        .destinations(&scope)
        .create(new.clone())
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
        .set_state(id, None, DestinationState::Disabled, NOW)
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
        rig.store.destinations(&scope).create(new).await.unwrap();
        let path = rig.empty.url.strip_prefix("sqlite:").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap());
        assert!(!bytes.windows(11).any(|w| w == b"very_secret"));
    }
}
