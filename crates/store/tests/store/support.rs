//! A store on each database, for the tests to share.

use laneway_store::{NewKey, NewTenant, Store, StoreConfig, Tenant};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{
    DeviceId, Grants, KeyId, LocalSocket, OperatorScope, Placement, SystemRandom, TenantId,
    TenantScope, new_id,
};
use laneway_testkit::{Database, EmptyDatabase};

pub const NOW: i64 = 1_790_000_000_000_000;

pub fn config(url: &str, max_connections: u32) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        max_connections,
        acquire_timeout_ms: 10_000,
        secret_key: [3; 32],
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
    }
}

pub struct Rig {
    pub store: Store,
    pub empty: EmptyDatabase,
}

pub async fn rig(database: Database) -> Rig {
    let empty = database.empty().await.unwrap();
    let store = Store::open(&config(&empty.url, 4)).await.unwrap();
    Rig { store, empty }
}

pub fn operator() -> OperatorScope {
    OperatorScope::local(&LocalSocket::bound_for_operator())
}

pub fn authority() -> RoleAuthority {
    RoleAuthority::for_role("test")
}

pub fn device(id: &str) -> DeviceId {
    id.parse().unwrap()
}

impl Rig {
    /// Of the tenant's changes that have not left yet.
    pub async fn versions(&self, scope: &TenantScope) -> Vec<i64> {
        let rows = self.store.outbox(&authority()).oldest(1000).await.unwrap();
        rows.iter()
            .filter(|r| r.tenant == scope.tenant())
            .map(|r| r.version)
            .collect()
    }

    pub async fn key(&self, scope: &TenantScope, id: KeyId, grants: Grants, hash: [u8; 32]) {
        let keys = self.store.keys(scope);
        keys.create(new_key(id, grants, hash), NOW).await.unwrap();
    }

    /// A tenant of a tenant.
    pub async fn below(&self, scope: &TenantScope, slug: &str) -> Tenant {
        let id = TenantId::from_u128(new_id(&SystemRandom, NOW));
        let new = NewTenant::plain(id, slug, Placement::first(id, 4, 24));
        let family = self.store.family(scope);
        family.create(new, NOW).await.unwrap()
    }

    pub async fn tenant(&self, slug: &str) -> (Tenant, TenantScope) {
        let id = TenantId::from_u128(new_id(&SystemRandom, NOW));
        let new = NewTenant::plain(id, slug, Placement::first(id, 4, 24));
        let tenant = self
            .store
            .tenants(&operator())
            .create(new, NOW)
            .await
            .unwrap();
        (tenant, operator().scope(id))
    }
}

pub fn new_key(id: KeyId, grants: Grants, token_hash: [u8; 32]) -> NewKey<'static> {
    NewKey {
        id,
        name: "k",
        account: None,
        role: None,
        grants,
        token_hash,
        expires_at: None,
    }
}
