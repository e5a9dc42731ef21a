//! Control changes on their way to the log: written in the transaction of the change itself,
//! numbered per tenant.

use laneway_schemas::{ControlKind, TenantEvent};
use laneway_tenancy::TenantId;
use sqlx::Row;
use tokio::sync::watch;

use crate::Store;
use crate::access::{Access, Tx};
use crate::audit::chain::Touched;
use crate::chunks::{chunks, list, placeholders};
use crate::codec::{Named, variant_name};
use crate::error::{Doing, Result, StoreError};

/// A change that is committed, but not known to be in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    pub seq: i64,
    pub tenant: TenantId,
    pub version: i64,
    pub kind: ControlKind,
    pub id: String,
    pub deleted: bool,
    /// Event time from which the change holds.
    pub effective_from: i64,
    /// JSON, never a secret.
    pub body: String,
}

impl OutboxRow {
    /// As readers of `tenant-events` are told it.
    pub fn event(&self) -> TenantEvent {
        TenantEvent {
            tenant_id: self.tenant.to_string(),
            version: self.version,
            kind: self.kind,
            id: self.id.clone(),
            deleted: self.deleted,
            effective_from: self.effective_from,
            body: self.body.clone(),
        }
    }
}

/// Reads and empties the outbox, for the relay.
pub struct Outbox<'a> {
    pub(crate) store: &'a Store,
}

impl Outbox<'_> {
    /// The oldest changes. Those of one tenant come in the order of their versions, without a gap.
    pub async fn oldest(&self, limit: u32) -> Result<Vec<OutboxRow>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(
            "SELECT seq, tenant_id, version, kind, id, deleted, effective_from, body
             FROM outbox ORDER BY seq LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("reading the outbox")?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let seq: i64 = row.try_get("seq").doing("reading the outbox")?;
                let name = seq.to_string();
                let row = Named::new("outbox", &name, row);
                Ok(OutboxRow {
                    seq,
                    tenant: row.parse("tenant_id")?,
                    version: row.get("version")?,
                    kind: row.variant("kind")?,
                    id: row.get("id")?,
                    deleted: row.get::<i64>("deleted")? != 0,
                    effective_from: row.get("effective_from")?,
                    body: row.get("body")?,
                })
            })
            .collect()
    }

    /// Removes changes that are durable in the log.
    pub async fn relayed(&self, rows: &[OutboxRow]) -> Result<()> {
        let mut tx = self.store.write(Access::Platform).await?;
        for chunk in chunks(rows) {
            let seqs = list(1, chunk.len());
            let sql = format!("DELETE FROM outbox WHERE seq IN ({seqs})");
            // Planned for the table as it is, which may have been all but empty a moment ago.
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
            for row in chunk {
                query = query.bind(row.seq);
            }
            query
                .execute(&mut *tx.inner)
                .await
                .doing("removing a relayed change from the outbox")?;
        }
        tx.commit().await
    }

    /// Changes whenever this process has committed a control change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.store.0.changed.subscribe()
    }
}

impl Store {
    /// Commits a transaction that has written to the outbox, with its entry in the audit trail,
    /// and wakes the relay.
    pub(crate) async fn commit_change(&self, tx: Tx) -> Result<()> {
        tx.commit_recorded().await?;
        self.0.changed.send_modify(|n| *n += 1);
        Ok(())
    }
}

/// Takes the tenant's next control version. Its row stays locked until the transaction ends, so
/// that versions become visible in their order.
pub(crate) async fn next_version(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    next_versions(tx, tenant, 1).await
}

/// Takes the tenant's next `count` control versions, each of which has to be emitted; returns
/// the last one. With none it does nothing but lock the tenant's row.
pub(crate) async fn next_versions(tx: &mut Tx, tenant: TenantId, count: usize) -> Result<i64> {
    let row = sqlx::query(
        "UPDATE tenants SET control_version = control_version + $2 WHERE tenant_id = $1 RETURNING control_version",
    )
    .bind(tenant.to_string())
    .bind(i64::try_from(count).unwrap_or(i64::MAX))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("numbering a control change")?
    .ok_or_else(|| StoreError::Missing { what: format!("tenant {tenant}") })?;
    row.try_get(0).doing("numbering a control change")
}

pub(crate) struct Change<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) version: i64,
    pub(crate) kind: ControlKind,
    pub(crate) id: &'a str,
    pub(crate) deleted: bool,
    /// JSON; `None` for an empty object.
    pub(crate) body: Option<String>,
    pub(crate) at: i64,
}

pub(crate) async fn emit(tx: &mut Tx, change: Change<'_>) -> Result<()> {
    emit_many(tx, &[change]).await
}

/// Changes in the order of their versions.
pub(crate) async fn emit_many(tx: &mut Tx, changes: &[Change<'_>]) -> Result<()> {
    for change in changes {
        tx.touched.push(Touched {
            tenant: change.tenant,
            kind: variant_name(&change.kind)?,
            id: change.id.to_owned(),
            deleted: change.deleted,
            at: change.at,
        });
    }
    for chunk in chunks(changes) {
        let sql = format!(
            "INSERT INTO outbox (tenant_id, version, kind, id, deleted, effective_from, body) VALUES {}",
            placeholders(7, chunk.len())
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for change in chunk {
            query = query
                .bind(change.tenant.to_string())
                .bind(change.version)
                .bind(variant_name(&change.kind)?)
                .bind(change.id)
                .bind(i64::from(change.deleted))
                .bind(change.at)
                .bind(change.body.as_deref().unwrap_or("{}"));
        }
        query
            .execute(&mut *tx.inner)
            .await
            .doing("writing control changes to the outbox")?;
    }
    Ok(())
}
