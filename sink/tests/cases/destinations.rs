//! Addresses and secrets of destinations, as the store has them, on both databases.

use std::sync::Arc;

use laneway_directory::DestinationEntry;
use laneway_runtime::SystemClock;
use laneway_sink::delivery::{DestinationFactory, OpenError, StoreDestinations};
use laneway_sink::settings::WebhookSettings;
use laneway_sink::webhook::WebhookClient;
use laneway_store::{NewDestination, NewTenant, ShardConfig, Store, StoreConfig};
use laneway_tenancy::control::{DestinationBody, DestinationState, RoleAuthority};
use laneway_tenancy::{DestinationId, OperatorScope, Placement, TenantId};
use laneway_testkit::servers::{Postgres, embedded_only};

use crate::rig::receivers::SECRET;

const KEY: [u8; 32] = [9; 32];

async fn open(url: &str, secret_key: [u8; 32]) -> Store {
    let config = StoreConfig {
        url: url.to_owned(),
        max_connections: 4,
        acquire_timeout_ms: 5000,
        secret_key,
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
        shards: ShardConfig::default(),
    };
    Store::open(&config).await.unwrap()
}

fn destinations(store: &Store) -> StoreDestinations {
    let webhooks = WebhookClient::new(&WebhookSettings::default(), Arc::new(SystemClock)).unwrap();
    StoreDestinations {
        store: store.clone(),
        authority: RoleAuthority::for_role("sink"),
        webhooks,
    }
}

fn entry(tenant: TenantId, id: DestinationId, kind: &str) -> Arc<DestinationEntry> {
    let body = DestinationBody {
        kind: kind.to_owned(),
        state: DestinationState::Active,
        event_types: Vec::new(),
        devices: Vec::new(),
        created_at: 1,
    };
    let version = 1;
    Arc::new(DestinationEntry {
        tenant,
        id,
        version,
        body,
    })
}

async fn create(store: &Store, tenant: TenantId, id: DestinationId, url: &str, secret: &str) {
    let operator = OperatorScope::of_role(&RoleAuthority::for_role("test"));
    let new = NewDestination {
        id,
        body: entry(tenant, id, "webhook").body.clone(),
        url: url.to_owned(),
        secret: secret.to_owned(),
    };
    let scope = operator.scope(tenant);
    store.destinations(&scope).create(new).await.unwrap();
}

async fn only_a_tenants_own_destination_opens_and_what_is_wrong_with_it_is_said(url: &str) {
    let store = open(url, KEY).await;
    let operator = OperatorScope::of_role(&RoleAuthority::for_role("test"));
    let tenants = [TenantId::from_u128(1), TenantId::from_u128(2)];
    for (id, slug) in tenants.into_iter().zip(["acme", "other"]) {
        let new = NewTenant::plain(id, slug, Placement::first(id, 1, 4));
        store.tenants(&operator).create(new, 1).await.unwrap();
    }
    let [mine, theirs] = tenants;
    let [good, plain, weak, unknown] = [1, 2, 3, 4].map(DestinationId::from_u128);
    create(&store, mine, good, "https://example.com/hook", SECRET).await;
    create(&store, mine, plain, "http://example.com/hook", SECRET).await;
    create(
        &store,
        mine,
        weak,
        "https://example.com/hook",
        "whsec_c2hvcnQ=",
    )
    .await;

    let factory = destinations(&store);
    let result = async |tenant, id, kind| factory.open(entry(tenant, id, kind)).await.map(drop);
    assert_eq!(result(mine, good, "webhook").await, Ok(()));
    for (id, part) in [(plain, "https://"), (weak, "whsec_")] {
        match result(mine, id, "webhook").await {
            Err(OpenError::Settings(reason)) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    match result(mine, good, "carrier-pigeon").await {
        Err(OpenError::Settings(reason)) => assert!(reason.contains("carrier-pigeon")),
        other => panic!("{other:?}"),
    }
    // Another tenant's is as good as none.
    let none = result(mine, unknown, "webhook").await;
    assert!(matches!(none, Err(OpenError::Unavailable(_))), "{none:?}");
    assert_eq!(result(theirs, good, "webhook").await, none);

    // Secrets that were encrypted under another key are never used.
    let wrong = destinations(&open(url, [1; 32]).await);
    let refused = wrong.open(entry(mine, good, "webhook")).await.map(drop);
    match refused {
        Err(OpenError::Unavailable(reason)) => {
            assert!(!reason.contains(SECRET), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // The news of a deletion may come later than the deletion.
    let scope = operator.scope(mine);
    store.destinations(&scope).delete(good, 2).await.unwrap();
    assert_eq!(result(mine, good, "webhook").await, none);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    only_a_tenants_own_destination_opens_and_what_is_wrong_with_it_is_said(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    if embedded_only("destinations on PostgreSQL") {
        return;
    }
    let name = format!("sink_{}", std::process::id());
    let server = Postgres::shared().await.unwrap();
    let url = server.create_database(&name).await.unwrap();
    only_a_tenants_own_destination_opens_and_what_is_wrong_with_it_is_said(&url).await;
}
