//! Transactions, each begun for someone.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use laneway_tenancy::TenantId;
use sqlx::{Any, AnyConnection, Transaction};
use tokio::sync::OwnedMutexGuard;

use crate::Store;
use crate::audit::chain::{Touched, record_changes};
use crate::audit::current;
use crate::error::{Doing, Result, StoreError};
use crate::open::Kind;
use crate::outbox::Told;
use crate::share::Share;
use crate::slow::Watch;

/// For whom a transaction acts.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// One tenant's rows, in its own database.
    Tenant(TenantId),
    /// One tenant's rows in this database, wherever its own tables are.
    Here(TenantId),
    /// All tenants' rows in the database that is one tenant's: what belongs to a family.
    Family(TenantId),
    /// All tenants' rows in this database: the operator, and the platform's own work.
    Platform,
    /// Nobody's rows but that of the secret with this hash.
    Secret(String),
    /// Nobody's rows but that of the tenant with this slug.
    Slug(String),
    /// Tables that belong to no tenant.
    Shared,
    /// The projection's tables, for these tenants (comma-separated).
    Projection(String),
}

/// Rolled back when dropped.
pub(crate) struct Tx {
    pub(crate) inner: Lent,
    kind: Kind,
    /// Whether it is in a shard.
    pub(crate) in_shard: bool,
    pub(crate) told: Arc<Told>,
    /// What it has changed, for the audit trail.
    pub(crate) touched: Vec<Touched>,
    _writer: Option<OwnedMutexGuard<()>>,
    _share: Option<Share>,
}

/// The connection of a transaction, lent to one statement after another.
pub(crate) struct Lent {
    watch: Watch,
    transaction: Transaction<'static, Any>,
}

impl Deref for Lent {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.watch.begin();
        &mut self.transaction
    }
}

/// As the log names it: never a secret or its hash.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Tenant(tenant) | Access::Here(tenant) => write!(f, "{tenant}"),
            Access::Family(tenant) => write!(f, "platform, for {tenant}"),
            Access::Platform => f.write_str("platform"),
            Access::Secret(_) => f.write_str("authentication"),
            Access::Slug(slug) => write!(f, "authentication of {slug}"),
            Access::Shared => f.write_str("shared"),
            Access::Projection(_) => f.write_str("projection"),
        }
    }
}

impl Store {
    pub(crate) async fn read(&self, access: Access) -> Result<Tx> {
        self.begin(access, false).await
    }

    pub(crate) async fn write(&self, access: Access) -> Result<Tx> {
        self.begin(access, true).await
    }

    /// In the database that the access is about.
    async fn begin(&self, access: Access, write: bool) -> Result<Tx> {
        let home = match access {
            Access::Tenant(tenant) | Access::Family(tenant) => self.home(tenant).await?,
            _ => self,
        };
        home.begin_here(access, write).await
    }

    /// Runs in a task of its own: a `begin` that is cancelled half-way would give its connection
    /// back to the pool inside an open transaction, and the next one would act in its name.
    pub(crate) async fn begin_here(&self, access: Access, write: bool) -> Result<Tx> {
        let asked = Instant::now();
        let watch = Watch::new(access.to_string(), self.0.slow);
        let share = match access {
            Access::Tenant(tenant) | Access::Here(tenant) => {
                Some(self.0.shares.take(tenant).await?)
            }
            _ => None,
        };
        let store = self.clone();
        let begun = tokio::spawn(async move {
            let mut tx = store.begin_uncancelled(watch, write).await?;
            tx._share = share;
            store.take_role(&mut tx, access).await?;
            Ok(tx)
        });
        let tx: Tx = begun.await.map_err(|e| StoreError::Unavailable {
            doing: "beginning a transaction",
            reason: e.to_string(),
        })??;
        tx.inner
            .watch
            .took("waiting for a connection", asked.elapsed());
        Ok(tx)
    }

    async fn begin_uncancelled(&self, watch: Watch, write: bool) -> Result<Tx> {
        let kind = self.0.kind;
        let writer = match kind {
            Kind::Sqlite if write => Some(self.0.writer.clone().lock_owned().await),
            _ => None,
        };
        let statement = match kind {
            Kind::Sqlite if write => "BEGIN IMMEDIATE",
            Kind::Postgres if !write => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            _ => "BEGIN",
        };
        // A read sees one moment: a credential with the control version it was valid at.
        let transaction = self
            .0
            .pool
            .begin_with(statement)
            .await
            .doing("beginning a transaction")?;
        Ok(Tx {
            inner: Lent { watch, transaction },
            kind,
            in_shard: self.is_shard(),
            told: self.0.shards.told.clone(),
            touched: Vec::new(),
            _writer: writer,
            _share: None,
        })
    }

    async fn take_role(&self, tx: &mut Tx, access: Access) -> Result<()> {
        if tx.kind == Kind::Sqlite {
            return Ok(());
        }
        let (role, setting, value) = match access {
            Access::Tenant(tenant) | Access::Here(tenant) => {
                ("laneway_app", "laneway.tenant", tenant.to_string())
            }
            Access::Family(_) | Access::Platform => {
                ("laneway_app", "laneway.tenant", "*".to_owned())
            }
            Access::Secret(hash) => ("laneway_app", "laneway.credential", hash),
            Access::Slug(slug) => ("laneway_app", "laneway.slug", slug),
            Access::Shared => ("laneway_app", "laneway.tenant", String::new()),
            Access::Projection(tenants) => ("laneway_projector", "laneway.tenants", tenants),
        };
        // The same as SET LOCAL ROLE, in one round trip with the setting.
        sqlx::query("SELECT set_config('role', $1, true), set_config($2, $3, true)")
            .bind(role)
            .bind(setting)
            .bind(value)
            .execute(&mut *tx.inner)
            .await
            .doing("taking the program's role in a transaction")?;
        Ok(())
    }
}

impl Tx {
    /// Goes on as one tenant, which a secret or a slug has just named.
    pub(crate) async fn narrow(&mut self, tenant: TenantId) -> Result<()> {
        if self.kind == Kind::Postgres {
            sqlx::query("SELECT set_config('laneway.tenant', $1, true)")
                .bind(tenant.to_string())
                .execute(&mut *self.inner)
                .await
                .doing("narrowing a transaction to one tenant")?;
        }
        Ok(())
    }

    /// Locks the tenant's row until the transaction ends: changes that count what there is take
    /// turns. SQLite has one writer anyway.
    pub(crate) async fn take_turns(&mut self, tenant: TenantId) -> Result<()> {
        if self.kind == Kind::Postgres {
            sqlx::query("SELECT 1 FROM tenants WHERE tenant_id = $1 FOR UPDATE")
                .bind(tenant.to_string())
                .execute(&mut *self.inner)
                .await
                .doing("taking a tenant's turn")?;
        }
        Ok(())
    }

    /// Says what it changes of a tenant, where that is no control change of the outbox.
    pub(crate) fn touches(
        &mut self,
        tenant: TenantId,
        kind: &str,
        id: &str,
        deleted: bool,
        at: i64,
    ) {
        self.touched.push(Touched {
            tenant,
            kind: kind.to_owned(),
            id: id.to_owned(),
            deleted,
            at,
        });
    }

    /// Commits what it has changed with the entries of the audit trail that say so.
    pub(crate) async fn commit_recorded(mut self) -> Result<()> {
        record_changes(&mut self).await?;
        self.commit().await?;
        if let Some(origin) = current() {
            origin.recorded();
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<()> {
        let Lent {
            mut watch,
            transaction,
        } = self.inner;
        watch.begin();
        transaction.commit().await.doing("committing a transaction")
    }
}
