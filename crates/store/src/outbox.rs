//! Control changes on their way to the log: written in the transaction of the change itself,
//! numbered per tenant, in the tenant's own database.

mod told;

use std::collections::BTreeSet;

use laneway_schemas::{ControlKind, TenantEvent};
use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use sqlx::Row;
use tokio::sync::watch;

use crate::access::{Access, Tx};
use crate::audit::chain::Touched;
use crate::chunks::{chunks, list, placeholders};
use crate::codec::{Named, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::{MAIN, Store};

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

pub(crate) use told::Told;

/// Changes of a shard that are looked through for such as can be told: of what is being created
/// there are a few at a time.
const LOOKED_THROUGH: u32 = 500;

/// Reads and empties the outbox of one database, for the relay.
pub struct Outbox<'a> {
    store: &'a Store,
    /// The shard that it is in; none for the main database.
    shard: Option<&'a str>,
}

impl Store {
    pub fn outbox(&self, _authority: &RoleAuthority) -> Outbox<'_> {
        Outbox {
            store: self,
            shard: None,
        }
    }

    /// One for each database.
    pub fn outboxes(&self, authority: &RoleAuthority) -> Vec<Outbox<'_>> {
        let shards = self.0.shards.each().map(|shard| Outbox {
            store: self,
            shard: Some(shard.name()),
        });
        std::iter::once(self.outbox(authority))
            .chain(shards)
            .collect()
    }
}

impl Outbox<'_> {
    /// The database that it is in.
    pub fn database(&self) -> &str {
        self.shard.unwrap_or(MAIN)
    }

    fn here(&self) -> Result<&Store> {
        self.store.in_place(self.shard)
    }

    /// The oldest changes. Those of one tenant come in the order of their versions, without a gap.
    /// What is being created in a shard is told of when it is there.
    pub async fn oldest(&self, limit: u32) -> Result<Vec<OutboxRow>> {
        if self.shard.is_none() {
            return self.read(limit).await;
        }
        let rows = self.read(limit.max(LOOKED_THROUGH)).await?;
        let here = rows.into_iter().map(|row| (self.shard, row)).collect();
        let mut rows = self.store.of_their_own(here, |row| row.tenant).await?;
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn read(&self, limit: u32) -> Result<Vec<OutboxRow>> {
        let mut tx = self.here()?.read(Access::Platform).await?;
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

    /// Changes as everybody else may be told of them: what a shard says is held against the main
    /// database, which has the copies that follow from them by then.
    pub async fn vetted(&self, mut rows: Vec<OutboxRow>) -> Result<Vec<OutboxRow>> {
        let Some(shard) = self.shard else {
            return Ok(rows);
        };
        self.store.vet_news(shard, &mut rows).await?;
        let changed = rows.iter().filter(|row| row.kind == ControlKind::Tenant);
        for tenant in changed.map(|row| row.tenant).collect::<BTreeSet<_>>() {
            self.store.mirror(tenant).await?;
        }
        Ok(rows)
    }

    /// Removes changes that are durable in the log.
    pub async fn relayed(&self, rows: &[OutboxRow]) -> Result<()> {
        let mut tx = self.here()?.write(Access::Platform).await?;
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
        let apart = tx.in_shard && !self.is_shard();
        let changed = if apart { changed(&tx) } else { Vec::new() };
        tx.commit_recorded().await?;
        self.has_changed();
        self.mirror_soon(&changed).await;
        Ok(())
    }

    /// Wakes the relay.
    pub(crate) fn has_changed(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }
}

/// Tenants whose own rows a transaction has changed.
fn changed(tx: &Tx) -> Vec<TenantId> {
    let rows = tx.touched.iter().filter(|touched| touched.kind == "tenant");
    let mut changed: Vec<TenantId> = rows.map(|touched| touched.tenant).collect();
    changed.dedup();
    changed
}

/// Takes the tenant's next control version. Its row stays locked until the transaction ends, so
/// that versions become visible in their order.
pub(crate) async fn next_version(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    next_versions(tx, tenant, 1).await
}

/// Takes the tenant's next `count` control versions, each of which has to be emitted; returns
/// the last one. With none it does nothing but lock the tenant's row.
pub(crate) async fn next_versions(tx: &mut Tx, tenant: TenantId, count: usize) -> Result<i64> {
    let told = tx.told.up_to(tenant)?;
    let row = sqlx::query(
        "UPDATE tenants SET control_version =
            CASE WHEN control_version < $3 THEN $3 ELSE control_version END + $2
         WHERE tenant_id = $1 RETURNING control_version",
    )
    .bind(tenant.to_string())
    .bind(i64::try_from(count).unwrap_or(i64::MAX))
    .bind(told)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("numbering a control change")?
    .ok_or_else(|| StoreError::Missing {
        what: format!("tenant {tenant}"),
    })?;
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
