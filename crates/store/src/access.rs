//! Transactions, each begun for someone.

use laneway_tenancy::TenantId;
use sqlx::{Any, Transaction};
use tokio::sync::OwnedMutexGuard;

use crate::Store;
use crate::error::{Doing, Result, StoreError};
use crate::open::Kind;

/// For whom a transaction acts.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// One tenant's rows.
    Tenant(TenantId),
    /// All tenants' rows: the operator, and the platform's own work.
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
    pub(crate) inner: Transaction<'static, Any>,
    kind: Kind,
    _writer: Option<OwnedMutexGuard<()>>,
}

impl Store {
    pub(crate) async fn read(&self, access: Access) -> Result<Tx> {
        self.begin(access, false).await
    }

    pub(crate) async fn write(&self, access: Access) -> Result<Tx> {
        self.begin(access, true).await
    }

    /// Runs in a task of its own: a `begin` that is cancelled half-way would give its connection
    /// back to the pool inside an open transaction, and the next one would act in its name.
    async fn begin(&self, access: Access, write: bool) -> Result<Tx> {
        let store = self.clone();
        let begun = tokio::spawn(async move { store.begin_uncancelled(access, write).await });
        begun.await.map_err(|e| StoreError::Unavailable {
            doing: "beginning a transaction",
            reason: e.to_string(),
        })?
    }

    async fn begin_uncancelled(&self, access: Access, write: bool) -> Result<Tx> {
        let kind = self.0.kind;
        match kind {
            Kind::Sqlite => {
                let writer = if write {
                    Some(self.0.writer.clone().lock_owned().await)
                } else {
                    None
                };
                let statement = if write { "BEGIN IMMEDIATE" } else { "BEGIN" };
                let inner = self
                    .0
                    .pool
                    .begin_with(statement)
                    .await
                    .doing("beginning a transaction")?;
                Ok(Tx {
                    inner,
                    kind,
                    _writer: writer,
                })
            }
            Kind::Postgres => {
                // A read sees one moment: a credential with the control version it was valid at.
                let statement = if write {
                    "BEGIN"
                } else {
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
                };
                let inner = self
                    .0
                    .pool
                    .begin_with(statement)
                    .await
                    .doing("beginning a transaction")?;
                let mut tx = Tx {
                    inner,
                    kind,
                    _writer: None,
                };
                let (role, setting, value) = match access {
                    Access::Tenant(tenant) => ("laneway_app", "laneway.tenant", tenant.to_string()),
                    Access::Platform => ("laneway_app", "laneway.tenant", "*".to_owned()),
                    Access::Secret(hash) => ("laneway_app", "laneway.credential", hash),
                    Access::Slug(slug) => ("laneway_app", "laneway.slug", slug),
                    Access::Shared => ("laneway_app", "laneway.tenant", String::new()),
                    Access::Projection(tenants) => {
                        ("laneway_projector", "laneway.tenants", tenants)
                    }
                };
                // The same as SET LOCAL ROLE, in one round trip with the setting.
                sqlx::query("SELECT set_config('role', $1, true), set_config($2, $3, true)")
                    .bind(role)
                    .bind(setting)
                    .bind(value)
                    .execute(&mut *tx.inner)
                    .await
                    .doing("taking the program's role in a transaction")?;
                Ok(tx)
            }
        }
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

    pub(crate) async fn commit(self) -> Result<()> {
        self.inner.commit().await.doing("committing a transaction")
    }
}
