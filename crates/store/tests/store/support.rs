//! A store on each database, for the tests to share.

use laneway_store::{NewKey, NewTenant, ShardConfig, Store, StoreConfig, Tenant};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{
    DeviceId, Grants, KeyId, LocalSocket, OperatorScope, Placement, SystemRandom, TenantId,
    TenantScope, new_id,
};
use laneway_testkit::{Database, EmptyDatabase};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

pub const NOW: i64 = 1_790_000_000_000_000;

pub fn config(url: &str, max_connections: u32) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        max_connections,
        acquire_timeout_ms: 10_000,
        secret_key: [3; 32],
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
        shards: ShardConfig::default(),
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

/// A store with two shards, `eu` for many and `bank` for one tenant.
pub struct ShardedRig {
    pub store: Store,
    pub config: StoreConfig,
    pub main: EmptyDatabase,
    pub eu: EmptyDatabase,
    pub bank: EmptyDatabase,
}

pub async fn sharded(database: Database) -> ShardedRig {
    let main = database.empty().await.unwrap();
    let (urls, [eu, bank]) = database.named(["eu", "bank"]).await.unwrap();
    let shards = ShardConfig {
        urls,
        dedicated: ["bank".to_owned()].into(),
        ..ShardConfig::default()
    };
    let config = StoreConfig {
        shards,
        ..config(&main.url, 4)
    };
    let store = Store::open(&config).await.unwrap();
    ShardedRig {
        store,
        config,
        main,
        eu,
        bank,
    }
}

/// A new tenant for a database, which has not been created.
pub fn new_in(slug: &str, database: &str) -> NewTenant {
    let id = TenantId::from_u128(new_id(&SystemRandom, NOW));
    NewTenant {
        database: Some(database.to_owned()),
        ..NewTenant::plain(id, slug, Placement::first(id, 4, 24))
    }
}

impl ShardedRig {
    pub async fn tenant(&self, slug: &str, database: &str) -> (Tenant, TenantScope) {
        let new = new_in(slug, database);
        let operator = operator();
        let tenant = self.store.tenants(&operator).create(new, NOW).await;
        let tenant = tenant.unwrap();
        let scope = operator.scope(tenant.id);
        (tenant, scope)
    }
}

/// Rows of a table, past the program and its rules: as the owner of the tables.
pub async fn rows(empty: &EmptyDatabase, table: &str) -> i64 {
    let mut connection = AnyConnection::connect(&empty.url).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    if empty.url.starts_with("postgres") {
        let owner = format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
        sqlx::query(AssertSqlSafe(owner))
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    let counted = sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    counted.get(0)
}

/// A tenant of a tenant.
pub async fn below(store: &Store, scope: &TenantScope, slug: &str) -> Tenant {
    let id = TenantId::from_u128(new_id(&SystemRandom, NOW));
    let new = NewTenant::plain(id, slug, Placement::first(id, 4, 24));
    store.family(scope).create(new, NOW).await.unwrap()
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
