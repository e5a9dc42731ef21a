//! Opening the store.

use std::sync::Arc;
use std::time::Duration;

use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{OperatorScope, TenantScope};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Executor};
use tokio::sync::{Mutex, watch};

use crate::audit::{Audit, AuditHeads};
use crate::error::{Doing, Result, StoreError};
use crate::grants::{Granted, PartnerGrants};
use crate::secrets::Secrets;
use crate::shards::{ShardConfig, Shards};
use crate::share::Shares;
use crate::{
    ApiKeys, Config, Credentials, Destinations, Devices, Family, HostProofs, Hosts, Leases,
    Positions, ProvisioningKeys, Quotas, Rotation, SchemaStore, ServiceAccounts, Sessions,
    Settings, Tenants, Usage, Usages, Warnings, migrate,
};

#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:/path/of/a/file` or `postgres://user:password@host/database`. On PostgreSQL the
    /// user owns the tables and is a member of `laneway_app` and `laneway_projector`.
    pub url: String,
    pub max_connections: u32,
    /// How long a call waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// Encrypts the secrets of destinations and the keys of hosts' certificates (AES-256-GCM). The
    /// same on all nodes.
    pub secret_key: [u8; 32],
    /// Keys of before, which still open what they encrypted.
    pub secret_keys_old: Vec<[u8; 32]>,
    /// A query that takes longer is logged, in milliseconds; 0 is none.
    pub slow_query_ms: u64,
    /// Databases beside it, for some of the tenants. Each has as many connections.
    pub shards: ShardConfig,
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("max_connections", &self.max_connections)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kind: Kind,
    pub(crate) pool: AnyPool,
    pub(crate) secrets: Secrets,
    pub(crate) shares: Shares,
    pub(crate) shards: Shards,
    /// Queries that take longer are logged.
    pub(crate) slow: Duration,
    /// SQLite has one writer: those of this process take turns here instead of polling.
    pub(crate) writer: Arc<Mutex<()>>,
    /// Counts committed control changes of this process.
    pub(crate) changed: watch::Sender<u64>,
}

impl Store {
    /// Connects, and brings the tables up to date. Several processes may do so at once. A shard
    /// that does not answer is brought up to date when it does ([`Store::health`]).
    pub async fn open(config: &StoreConfig) -> Result<Store> {
        sqlx::any::install_default_drivers();
        let store = Store::connect(config, Shards::new(config)?)?;
        migrate::run(store.0.kind, &store.0.pool).await?;
        if let Err(error) = store.0.shards.health().await {
            tracing::warn!(%error, "what some tenants have is not there yet");
        }
        store.check_shards().await?;
        Ok(store)
    }

    /// Connects when it is first used.
    pub(crate) fn connect(config: &StoreConfig, shards: Shards) -> Result<Store> {
        let (kind, url) = target(&config.url)?;
        let options: AnyConnectOptions = url
            .parse()
            .map_err(|e| StoreError::Config(format!("store.url cannot be read: {e}")))?;
        let patience = Duration::from_millis(config.acquire_timeout_ms.max(1));
        let pool = AnyPoolOptions::new()
            .max_connections(config.max_connections.max(1))
            .acquire_timeout(patience)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if kind == Kind::Postgres {
                        // A process that stands still within a transaction keeps others from
                        // the rows that it has locked no longer than that.
                        connection
                            .execute("SET idle_in_transaction_session_timeout = '20s'")
                            .await?;
                    }
                    if kind == Kind::Sqlite {
                        connection.execute("PRAGMA busy_timeout = 10000").await?;
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA synchronous = FULL").await?;
                        connection.execute("PRAGMA foreign_keys = ON").await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options.disable_statement_logging());
        let secrets = Secrets::new(&config.secret_key, &config.secret_keys_old)?;
        let writer = Arc::new(Mutex::new(()));
        Ok(Store(Arc::new(Inner {
            kind,
            pool,
            secrets,
            shares: Shares::new(config.max_connections, patience),
            shards,
            slow: Duration::from_millis(config.slow_query_ms),
            writer,
            changed: watch::channel(0).0,
        })))
    }

    /// Whether the database answers, and each of the shards, within a few seconds.
    pub async fn health(&self) -> Result<()> {
        self.answers().await?;
        self.0.shards.health().await
    }

    /// Whether this database answers, within two seconds.
    pub(crate) async fn answers(&self) -> Result<()> {
        let asked = sqlx::query("SELECT 1").execute(&self.0.pool);
        match tokio::time::timeout(Duration::from_secs(2), asked).await {
            Ok(answered) => answered.map(drop).doing("asking for its health"),
            Err(_) => Err(StoreError::Unavailable {
                doing: "asking for its health",
                reason: "no answer within 2 s".to_owned(),
            }),
        }
    }

    pub async fn close(&self) {
        self.0.shards.close().await;
        self.0.pool.close().await;
    }

    pub fn audit<'a>(&'a self, scope: &'a TenantScope) -> Audit<'a> {
        Audit { store: self, scope }
    }

    pub fn audit_heads<'a>(&'a self, operator: &'a OperatorScope) -> AuditHeads<'a> {
        AuditHeads::new(self, operator)
    }

    pub fn rotation<'a>(&'a self, operator: &'a OperatorScope) -> Rotation<'a> {
        Rotation::new(self, operator)
    }

    pub fn tenants<'a>(&'a self, operator: &'a OperatorScope) -> Tenants<'a> {
        Tenants::new(self, operator)
    }

    /// The tenant itself, and what is below it.
    pub fn family<'a>(&'a self, scope: &'a TenantScope) -> Family<'a> {
        Family { store: self, scope }
    }

    pub fn config<'a>(&'a self, scope: &'a TenantScope) -> Config<'a> {
        Config { store: self, scope }
    }

    pub fn devices<'a>(&'a self, scope: &'a TenantScope) -> Devices<'a> {
        Devices { store: self, scope }
    }

    pub fn credentials<'a>(&'a self, scope: &'a TenantScope) -> Credentials<'a> {
        Credentials { store: self, scope }
    }

    pub fn provisioning_keys<'a>(&'a self, scope: &'a TenantScope) -> ProvisioningKeys<'a> {
        ProvisioningKeys { store: self, scope }
    }

    pub fn keys<'a>(&'a self, scope: &'a TenantScope) -> ApiKeys<'a> {
        ApiKeys { store: self, scope }
    }

    pub fn service_accounts<'a>(&'a self, scope: &'a TenantScope) -> ServiceAccounts<'a> {
        ServiceAccounts { store: self, scope }
    }

    pub fn destinations<'a>(&'a self, scope: &'a TenantScope) -> Destinations<'a> {
        Destinations { store: self, scope }
    }

    /// What the tenant grants to partners.
    pub fn grants<'a>(&'a self, scope: &'a TenantScope) -> PartnerGrants<'a> {
        PartnerGrants { store: self, scope }
    }

    /// What is granted to the tenant, which is a partner.
    pub fn granted<'a>(&'a self, scope: &'a TenantScope) -> Granted<'a> {
        Granted { store: self, scope }
    }

    pub fn hosts<'a>(&'a self, scope: &'a TenantScope) -> Hosts<'a> {
        Hosts { store: self, scope }
    }

    /// Hosts of all tenants, for proofs and certificates.
    pub fn host_proofs(&self, _authority: &RoleAuthority) -> HostProofs<'_> {
        HostProofs { store: self }
    }

    pub fn positions<'a>(&'a self, scope: &'a TenantScope) -> Positions<'a> {
        Positions { store: self, scope }
    }

    pub fn sessions<'a>(&'a self, scope: &'a TenantScope) -> Sessions<'a> {
        Sessions { store: self, scope }
    }

    /// The registry as the platform sees it: all subjects, and it registers the shared ones.
    pub fn schemas(&self) -> SchemaStore {
        SchemaStore::new(self.clone(), None)
    }

    /// The registry as a tenant sees it: the shared subjects and its own.
    pub fn tenant_schemas(&self, scope: &TenantScope) -> SchemaStore {
        SchemaStore::new(self.clone(), Some(scope.tenant()))
    }

    pub fn leases(&self, _authority: &RoleAuthority) -> Leases<'_> {
        Leases { store: self }
    }

    pub fn quotas(&self, _authority: &RoleAuthority) -> Quotas<'_> {
        Quotas { store: self }
    }

    pub fn quota_warnings(&self, _authority: &RoleAuthority) -> Warnings<'_> {
        Warnings { store: self }
    }

    pub fn usage<'a>(&'a self, scope: &'a TenantScope) -> Usage<'a> {
        Usage { store: self, scope }
    }

    pub fn usages<'a>(&'a self, operator: &'a OperatorScope) -> Usages<'a> {
        Usages {
            store: self,
            _operator: operator,
        }
    }

    pub fn settings(&self, _authority: &RoleAuthority) -> Settings<'_> {
        Settings { store: self }
    }
}

fn target(url: &str) -> Result<(Kind, String)> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Kind::Postgres, url.to_owned()));
    }
    if let Some(path) = url.strip_prefix("sqlite:") {
        if path.contains(":memory:") || path.contains("mode=memory") {
            return Err(StoreError::Config(
                "store.url names a database in memory; name a file".to_owned(),
            ));
        }
        let mode = if path.contains("mode=") {
            ""
        } else if path.contains('?') {
            "&mode=rwc"
        } else {
            "?mode=rwc"
        };
        return Ok((Kind::Sqlite, format!("sqlite:{path}{mode}")));
    }
    Err(StoreError::Config(
        "store.url must begin with sqlite: or postgres://".to_owned(),
    ))
}
