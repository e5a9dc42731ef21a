//! What the projection writes: latest positions and sessions, in one transaction with how far
//! it has come, so that neither a crash nor a second member makes it lose or go back.

use std::collections::HashMap;

use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, SessionId, TenantId};
use sqlx::Row;

use crate::access::{Access, Tx};
use crate::chunks::{chunks, placeholders};
use crate::error::{Doing, Result, StoreError};
use crate::{SessionState, Store};

/// A position. The latest of a device by (`recorded_at`, `fix_id`, `revision`) stays.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionRow {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub recorded_at: i64,
    /// The newest that was received stays, whichever position is the latest.
    pub received_at: i64,
    pub fix_id: String,
    pub revision: i64,
    /// JSON, as the API answers it.
    pub body: String,
}

/// A session as of one event about it. The newest by (`state`, `revision`) stays; what a newer
/// one does not say is kept from the older.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub session: SessionId,
    pub state: SessionState,
    pub revision: i64,
    pub started_at: Option<i64>,
    pub stopped_at: Option<i64>,
    pub last_fix_at: Option<i64>,
    pub fixes: i64,
    pub distance_m: f64,
    pub duration_s: f64,
    /// A JSON object.
    pub attributes: Option<String>,
}

/// What came from `from_offset..to_offset` of a partition of the tenants' streams.
#[derive(Debug, Clone, Default)]
pub struct ProjectionBatch {
    pub generation: u32,
    pub partition: u32,
    pub from_offset: u64,
    pub to_offset: u64,
    pub positions: Vec<PositionRow>,
    pub sessions: Vec<SessionRow>,
}

impl Store {
    /// The next offset that the projection has to read of a partition.
    pub async fn projected(
        &self,
        _authority: &RoleAuthority,
        generation: u32,
        partition: u32,
    ) -> Result<Option<u64>> {
        let mut tx = self.read(Access::Projection(String::new())).await?;
        let at = position(&mut tx, generation, partition).await?;
        tx.commit().await?;
        Ok(at)
    }

    /// Writes a batch, all or nothing. [`StoreError::Moved`] where the partition is not at
    /// `from_offset`; a partition that is nowhere yet may begin anywhere.
    pub async fn project(&self, _authority: &RoleAuthority, batch: ProjectionBatch) -> Result<()> {
        let positions = newest_positions(batch.positions);
        let sessions = newest_sessions(batch.sessions);
        let tenants = tenant_list(&positions, &sessions);
        let mut tx = self.write(Access::Projection(tenants)).await?;
        advance(
            &mut tx,
            batch.generation,
            batch.partition,
            batch.from_offset,
            batch.to_offset,
        )
        .await?;
        for chunk in chunks(&positions) {
            upsert_positions(&mut tx, chunk).await?;
        }
        for chunk in chunks(&sessions) {
            upsert_sessions(&mut tx, chunk).await?;
        }
        tx.commit().await
    }
}

fn tenant_list(positions: &[PositionRow], sessions: &[SessionRow]) -> String {
    let mut tenants: Vec<TenantId> = positions
        .iter()
        .map(|p| p.tenant)
        .chain(sessions.iter().map(|s| s.tenant))
        .collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
        .iter()
        .map(TenantId::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

async fn position(tx: &mut Tx, generation: u32, partition: u32) -> Result<Option<u64>> {
    let doing = "reading how far the projection has come";
    let row = sqlx::query(
        "SELECT next_offset FROM projection_positions WHERE generation = $1 AND partition = $2",
    )
    .bind(i64::from(generation))
    .bind(i64::from(partition))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(doing)?;
    let at: Option<i64> = row.map(|row| row.try_get(0).doing(doing)).transpose()?;
    Ok(at.map(|at| u64::try_from(at).unwrap_or(0)))
}

/// Compare and set. Locks the partition's row until the transaction ends.
async fn advance(tx: &mut Tx, generation: u32, partition: u32, from: u64, to: u64) -> Result<()> {
    let stored = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let moved = sqlx::query(
        "UPDATE projection_positions SET next_offset = $4
         WHERE generation = $1 AND partition = $2 AND next_offset = $3",
    )
    .bind(i64::from(generation))
    .bind(i64::from(partition))
    .bind(stored(from))
    .bind(stored(to))
    .execute(&mut *tx.inner)
    .await
    .doing("advancing the projection")?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    let begun = sqlx::query(
        "INSERT INTO projection_positions (generation, partition, next_offset) VALUES ($1, $2, $3)
         ON CONFLICT (generation, partition) DO NOTHING",
    )
    .bind(i64::from(generation))
    .bind(i64::from(partition))
    .bind(stored(to))
    .execute(&mut *tx.inner)
    .await
    .doing("beginning the projection of a partition")?;
    if begun.rows_affected() == 1 {
        return Ok(());
    }
    let actual = position(tx, generation, partition).await?;
    Err(StoreError::Moved {
        generation,
        partition,
        expected: from,
        actual,
    })
}

/// One row a device: a statement may touch each row once.
fn newest_positions(rows: Vec<PositionRow>) -> Vec<PositionRow> {
    fn order(row: &PositionRow) -> (i64, &str, i64) {
        (row.recorded_at, row.fix_id.as_str(), row.revision)
    }
    let mut newest: HashMap<(TenantId, DeviceId), PositionRow> = HashMap::with_capacity(rows.len());
    for row in rows {
        match newest.entry((row.tenant, row.device.clone())) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(row);
            }
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                let received_at = row.received_at.max(slot.get().received_at);
                if order(&row) > order(slot.get()) {
                    slot.insert(row);
                }
                slot.get_mut().received_at = received_at;
            }
        }
    }
    in_key_order(newest)
}

fn newest_sessions(rows: Vec<SessionRow>) -> Vec<SessionRow> {
    let mut newest: HashMap<(TenantId, DeviceId, SessionId), SessionRow> = HashMap::new();
    for row in rows {
        match newest.entry((row.tenant, row.device.clone(), row.session.clone())) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(row);
            }
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                let merged = merge(slot.get(), &row);
                slot.insert(merged);
            }
        }
    }
    in_key_order(newest)
}

/// The same as the database's own merge below.
fn merge(a: &SessionRow, b: &SessionRow) -> SessionRow {
    let newer = |row: &SessionRow| (row.state.stage(), row.revision);
    let (old, new) = if newer(b) > newer(a) { (a, b) } else { (b, a) };
    SessionRow {
        started_at: new.started_at.or(old.started_at),
        stopped_at: new.stopped_at.or(old.stopped_at),
        last_fix_at: new.last_fix_at.or(old.last_fix_at),
        attributes: new.attributes.clone().or_else(|| old.attributes.clone()),
        ..new.clone()
    }
}

/// Rows in the order of their keys, so that two batches lock them in the same order.
fn in_key_order<K: Ord, V>(rows: HashMap<K, V>) -> Vec<V> {
    let mut rows: Vec<(K, V)> = rows.into_iter().collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, row)| row).collect()
}

async fn upsert_positions(tx: &mut Tx, rows: &[PositionRow]) -> Result<()> {
    // One that is not the latest may still be the last that was received.
    let newer = "(excluded.recorded_at, excluded.fix_id, excluded.revision)
             > (latest_positions.recorded_at, latest_positions.fix_id, latest_positions.revision)";
    let newest = |column: &str| {
        format!(
            "{column} = CASE WHEN {newer} THEN excluded.{column} ELSE latest_positions.{column} END"
        )
    };
    let columns = ["recorded_at", "fix_id", "revision", "body"].map(newest);
    let sql = format!(
        "INSERT INTO latest_positions (tenant_id, device_id, recorded_at, fix_id, revision, body, received_at) VALUES {}
         ON CONFLICT (tenant_id, device_id) DO UPDATE SET {},
            received_at = CASE WHEN latest_positions.received_at > excluded.received_at
                THEN latest_positions.received_at ELSE excluded.received_at END
         WHERE {newer} OR latest_positions.received_at IS NULL
            OR excluded.received_at > latest_positions.received_at",
        placeholders(7, rows.len()),
        columns.join(", ")
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for row in rows {
        query = query
            .bind(row.tenant.to_string())
            .bind(row.device.as_str())
            .bind(row.recorded_at)
            .bind(row.fix_id.as_str())
            .bind(row.revision)
            .bind(row.body.as_str())
            .bind(row.received_at);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("writing latest positions")?;
    Ok(())
}

async fn upsert_sessions(tx: &mut Tx, rows: &[SessionRow]) -> Result<()> {
    let sql = format!(
        "INSERT INTO sessions (tenant_id, device_id, session_id, stage, revision, started_at, stopped_at,
            last_fix_at, fixes, distance_m, duration_s, attributes) VALUES {}
         ON CONFLICT (tenant_id, device_id, session_id) DO UPDATE SET
            stage = excluded.stage, revision = excluded.revision, fixes = excluded.fixes,
            distance_m = excluded.distance_m, duration_s = excluded.duration_s,
            started_at = COALESCE(excluded.started_at, sessions.started_at),
            stopped_at = COALESCE(excluded.stopped_at, sessions.stopped_at),
            last_fix_at = COALESCE(excluded.last_fix_at, sessions.last_fix_at),
            attributes = COALESCE(excluded.attributes, sessions.attributes)
         WHERE (excluded.stage, excluded.revision) > (sessions.stage, sessions.revision)",
        placeholders(12, rows.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for row in rows {
        query = query
            .bind(row.tenant.to_string())
            .bind(row.device.as_str())
            .bind(row.session.as_str())
            .bind(row.state.stage())
            .bind(row.revision)
            .bind(row.started_at)
            .bind(row.stopped_at)
            .bind(row.last_fix_at)
            .bind(row.fixes)
            .bind(row.distance_m)
            .bind(row.duration_s)
            .bind(row.attributes.as_deref());
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("writing sessions")?;
    Ok(())
}
