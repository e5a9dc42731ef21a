//! Keys of secrets at rest change while everything runs.

use laneway_store::{Begun, NewDestination, Store, StoreConfig, StoreError};
use laneway_tenancy::control::{DestinationBody, DestinationState};
use laneway_tenancy::{DestinationId, TenantScope};
use laneway_testkit::Database;

use crate::support::{NOW, config, operator, rig};

laneway_testkit::on_both_databases!(
    a_rotation_that_is_stopped_half_way_goes_on_where_it_was,
    a_process_with_old_keys_alone_is_told_what_it_lacks,
);

const OLD: [u8; 32] = [3; 32];
const NEW: [u8; 32] = [4; 32];

async fn open(url: &str, current: [u8; 32], old: &[[u8; 32]]) -> Store {
    let config = StoreConfig {
        secret_key: current,
        secret_keys_old: old.to_vec(),
        ..config(url, 4)
    };
    Store::open(&config).await.unwrap()
}

async fn add(store: &Store, scope: &TenantScope, id: u128) {
    let new = NewDestination {
        id: DestinationId::from_u128(id),
        body: DestinationBody {
            kind: "webhook".into(),
            state: DestinationState::Active,
            event_types: vec![],
            devices: vec![],
            created_at: NOW,
        },
        url: "https://example.com/hook".into(),
        secret: format!("whsec_{id}"),
    };
    store.destinations(scope).create(new).await.unwrap();
}

async fn secret(store: &Store, scope: &TenantScope, id: u128) -> Result<String, StoreError> {
    let id = DestinationId::from_u128(id);
    let secret = store.destinations(scope).secret(id).await?;
    Ok(secret.unwrap())
}

async fn a_rotation_that_is_stopped_half_way_goes_on_where_it_was(database: Database) {
    let rig = rig(database).await;
    let (_, mine) = rig.tenant("mine").await;
    let (_, theirs) = rig.tenant("theirs").await;
    for id in 0..150 {
        add(&rig.store, &mine, id).await;
        add(&rig.store, &theirs, id).await;
    }
    // An answer that is kept for its idempotency key may hold a secret, too.
    let answers = rig.store.idempotent_answers(&mine);
    let begun = answers.begin("key", &[7; 32], NOW, 1_000_000).await;
    assert_eq!(begun.unwrap(), Begun::First);
    answers.finish("key", 201, "lwk_x").await.unwrap();
    let rotating = open(&rig.empty.url, NEW, &[OLD]).await;
    let operator = operator();
    let first = rotating.rotation(&operator).step(None, 1).await.unwrap();
    assert_eq!((first.seen, first.resealed), (100, 100));
    let next = first.next.clone().unwrap();
    // Ended there, half of it done: both kinds are read by whoever has both keys.
    rotating.close().await;
    let again = open(&rig.empty.url, NEW, &[OLD]).await;
    for scope in [&mine, &theirs] {
        for id in [0, 99, 149] {
            assert_eq!(
                secret(&again, scope, id).await.unwrap(),
                format!("whsec_{id}")
            );
        }
    }
    // From where it was, or from the beginning: what is done is not done again.
    let resumed = again.rotation(&operator).step(Some(&next), u64::MAX).await;
    let resumed = resumed.unwrap();
    assert_eq!(
        (resumed.seen, resumed.resealed, &resumed.next),
        (201, 201, &None)
    );
    let idle = again
        .rotation(&operator)
        .step(None, u64::MAX)
        .await
        .unwrap();
    assert_eq!((idle.seen, idle.resealed, idle.next), (301, 0, None));
    assert_eq!(idle.key, first.key);
    // The old key is not needed any more.
    let without = open(&rig.empty.url, NEW, &[]).await;
    let answers = without.idempotent_answers(&mine);
    let again = answers.begin("key", &[7; 32], NOW, 1_000_000).await;
    let answer = "lwk_x".to_owned();
    let status = 201;
    assert_eq!(again.unwrap(), Begun::Answered { status, answer });
    for scope in [&mine, &theirs] {
        for id in 0..150 {
            assert_eq!(
                secret(&without, scope, id).await.unwrap(),
                format!("whsec_{id}")
            );
        }
    }
}

async fn a_process_with_old_keys_alone_is_told_what_it_lacks(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let new = open(&rig.empty.url, NEW, &[OLD]).await;
    add(&new, &scope, 1).await;
    let error = secret(&rig.store, &scope, 1).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownKey { .. }), "{error}");
    assert!(
        error.to_string().contains("store.secret_keys_old"),
        "{error}"
    );
    let prepared = open(&rig.empty.url, OLD, &[NEW]).await;
    assert_eq!(secret(&prepared, &scope, 1).await.unwrap(), "whsec_1");
}
