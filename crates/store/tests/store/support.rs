//! A store on each database, for the tests to share.

use std::sync::atomic::{AtomicU32, Ordering};

use laneway_store::{NewTenant, Store, StoreConfig, Tenant};
use laneway_tenancy::control::{Limits, RoleAuthority};
use laneway_tenancy::{
    LocalSocket, OperatorScope, Placement, SystemRandom, TenantId, TenantScope, new_id,
};
use laneway_testkit::servers::Postgres;

pub const NOW: i64 = 1_790_000_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// An empty database. The folder is removed when this is dropped.
pub struct Empty {
    pub url: String,
    _folder: tempfile::TempDir,
}

pub async fn empty(database: Database) -> Empty {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = tempfile::tempdir().unwrap();
    let url = match database {
        Database::Sqlite => format!("sqlite:{}", folder.path().join("store.db").display()),
        Database::Postgres => {
            let name = format!(
                "store_{}_{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::SeqCst)
            );
            Postgres::shared()
                .await
                .unwrap()
                .create_database(&name)
                .await
                .unwrap()
        }
    };
    Empty {
        url,
        _folder: folder,
    }
}

pub fn config(url: &str, max_connections: u32) -> StoreConfig {
    StoreConfig {
        url: url.to_owned(),
        max_connections,
        acquire_timeout_ms: 10_000,
        secret_key: [3; 32],
    }
}

pub struct Rig {
    pub store: Store,
    pub empty: Empty,
}

pub async fn rig(database: Database) -> Rig {
    let empty = empty(database).await;
    let store = Store::open(&config(&empty.url, 4)).await.unwrap();
    Rig { store, empty }
}

pub fn operator() -> OperatorScope {
    OperatorScope::local(&LocalSocket::bound_for_operator())
}

pub fn authority() -> RoleAuthority {
    RoleAuthority::for_role("test")
}

impl Rig {
    pub async fn tenant(&self, slug: &str) -> (Tenant, TenantScope) {
        let id = TenantId::from_u128(new_id(&SystemRandom, NOW));
        let new = NewTenant {
            id,
            slug: slug.into(),
            placement: Placement::first(id, 4, 24),
            limits: Limits::default(),
        };
        let tenant = self
            .store
            .tenants(&operator())
            .create(new, NOW)
            .await
            .unwrap();
        (tenant, operator().scope(id))
    }
}

/// The same tests on both databases.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::support::Database::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if laneway_testkit::servers::embedded_only("the store on PostgreSQL") {
                    return;
                }
                super::$test(crate::support::Database::Postgres).await;
            })*
        }
    };
}
