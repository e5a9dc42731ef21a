//! Hosts of tenants: registered, proved, with certificates whose keys are encrypted.

mod platform;
mod prove;

use laneway_schemas::ControlKind;
use laneway_tenancy::control::{HostBody, HostState};
use laneway_tenancy::{HostPattern, TenantId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, to_json, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};
use crate::room::{Room, count};

pub use platform::{HostCertificate, HostProofs};

#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    pub host: HostPattern,
    pub state: HostState,
    /// What proves the host where it is published there.
    pub token: String,
    /// When the last proof was tried, and when one last succeeded.
    pub checked_at: Option<i64>,
    pub proved_at: Option<i64>,
    /// Why the last one failed.
    pub problem: Option<String>,
    /// Where it has a certificate of its own.
    pub certificate_expires_at: Option<i64>,
    pub created_at: i64,
}

/// A host that a tenant is created with.
#[derive(Debug, Clone)]
pub struct NewHost {
    pub host: HostPattern,
    /// What proves it.
    pub token: String,
}

/// What came of a proof.
#[derive(Debug, Clone)]
pub struct HostProof {
    pub at: i64,
    /// When to try again.
    pub next: i64,
    /// `Err` says why it failed.
    pub outcome: Result<(), String>,
    /// A host that fails is live no more.
    pub stops: bool,
}

/// A certificate that was checked for its host.
pub struct NewCertificate<'a> {
    /// PEM.
    pub chain: &'a str,
    /// PEM, in the clear; stored encrypted.
    pub key: &'a str,
    pub expires_at: i64,
}

/// The hosts of one tenant.
pub struct Hosts<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str = "tenant_id, host, state, token, checked_at, proved_at, problem, certificate_expires_at, created_at";

impl Hosts<'_> {
    /// Registers a host, which is pending from then on. At most `most` of a tenant.
    pub async fn register(
        &self,
        host: &HostPattern,
        token: &str,
        most: u32,
        at: i64,
    ) -> Result<Host> {
        let tenant = self.scope.tenant();
        let mut tx = self.write().await?;
        let version = next_version(&mut tx, tenant).await?;
        let counted = count(&mut tx, "hosts", tenant).await?;
        Room::beside("hosts", counted, most.into()).for_one()?;
        let registered = insert(&mut tx, tenant, host, token, version, at).await?;
        self.store.commit_change(tx).await?;
        Ok(registered)
    }

    pub async fn find(&self, host: &HostPattern) -> Result<Option<Host>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let found = find(&mut tx, self.scope.tenant(), host).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Hosts by name, after `after`.
    pub async fn list(&self, after: Option<&HostPattern>, limit: u32) -> Result<Vec<Host>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM hosts WHERE tenant_id = $1 AND host > $2 ORDER BY host LIMIT $3"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(after.map_or("", HostPattern::as_str))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing hosts")?;
        tx.commit().await?;
        rows.iter().map(read).collect()
    }

    /// Gives the host a certificate, in the place of the one that it may have.
    pub async fn set_certificate(
        &self,
        host: &HostPattern,
        new: NewCertificate<'_>,
        at: i64,
    ) -> Result<Host> {
        let tenant = self.scope.tenant();
        let name = row_name(&tenant.to_string(), host.as_str());
        let sealed = self.store.0.secrets.seal(&name, new.key)?;
        let mut tx = self.write().await?;
        let version = next_version(&mut tx, tenant).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE hosts SET certificate = $3, private_key = $4, certificate_expires_at = $5
             WHERE tenant_id = $1 AND host = $2 RETURNING {COLUMNS}"
        )))
        .bind(tenant.to_string())
        .bind(host.as_str())
        .bind(new.chain)
        .bind(sealed)
        .bind(new.expires_at)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("setting the certificate of a host")?;
        let changed = read(&row.ok_or_else(|| missing(host))?)?;
        announce(&mut tx, tenant, &changed, version, at).await?;
        self.store.commit_change(tx).await?;
        Ok(changed)
    }

    pub async fn delete(&self, host: &HostPattern, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.write().await?;
        let version = next_version(&mut tx, tenant).await?;
        let deleted = sqlx::query("DELETE FROM hosts WHERE tenant_id = $1 AND host = $2")
            .bind(tenant.to_string())
            .bind(host.as_str())
            .execute(&mut *tx.inner)
            .await
            .doing("deleting a host")?;
        if deleted.rows_affected() == 0 {
            return Err(missing(host));
        }
        let change = Change {
            tenant,
            version,
            kind: ControlKind::Host,
            id: host.as_str(),
            deleted: true,
            body: None,
            at,
        };
        emit(&mut tx, change).await?;
        let apart = tx.in_shard;
        self.store.commit_change(tx).await?;
        if apart {
            self.release(host).await;
        }
        Ok(())
    }

    async fn write(&self) -> Result<Tx> {
        self.store.write(Access::Tenant(self.scope.tenant())).await
    }
}

/// Registers a host under the tenant's control version `version`.
pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    host: &HostPattern,
    token: &str,
    version: i64,
    at: i64,
) -> Result<Host> {
    let inserted = sqlx::query(
        "INSERT INTO hosts (tenant_id, host, state, token, next_check_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (tenant_id, host) DO NOTHING",
    )
    .bind(tenant.to_string())
    .bind(host.as_str())
    .bind(variant_name(&HostState::Pending)?)
    .bind(token)
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("registering a host")?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::Exists {
            what: format!("the host {host}"),
        });
    }
    let registered = find(tx, tenant, host).await?;
    let registered = registered.ok_or_else(|| missing(host))?;
    announce(tx, tenant, &registered, version, at).await?;
    Ok(registered)
}

async fn announce(tx: &mut Tx, tenant: TenantId, host: &Host, version: i64, at: i64) -> Result<()> {
    let body = HostBody {
        state: host.state,
        certificate: host.certificate_expires_at.is_some(),
    };
    let change = Change {
        tenant,
        version,
        kind: ControlKind::Host,
        id: host.host.as_str(),
        deleted: false,
        body: Some(to_json(&body)?),
        at,
    };
    emit(tx, change).await
}

async fn find(tx: &mut Tx, tenant: TenantId, host: &HostPattern) -> Result<Option<Host>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM hosts WHERE tenant_id = $1 AND host = $2"
    )))
    .bind(tenant.to_string())
    .bind(host.as_str())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a host")?;
    row.as_ref().map(read).transpose()
}

fn missing(host: &HostPattern) -> StoreError {
    StoreError::Missing {
        what: format!("host {host}"),
    }
}

/// What the key of a certificate is bound to.
fn row_name(tenant: &str, host: &str) -> String {
    format!("hosts/{tenant}/{host}")
}

fn read(row: &AnyRow) -> Result<Host> {
    let name: String = row.try_get("host").doing("reading a host")?;
    let row = Named::new("hosts", &name, row);
    Ok(Host {
        host: row.parse("host")?,
        state: row.variant("state")?,
        token: row.get("token")?,
        checked_at: row.get("checked_at")?,
        proved_at: row.get("proved_at")?,
        problem: row.get("problem")?,
        certificate_expires_at: row.get("certificate_expires_at")?,
        created_at: row.get("created_at")?,
    })
}
