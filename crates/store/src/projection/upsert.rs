//! Writing rows, each of which only goes forward: what is there and newer stays.

use super::{PositionRow, SessionRow};
use crate::access::Tx;
use crate::chunks::placeholders;
use crate::error::{Doing, Result};

pub(super) async fn positions(tx: &mut Tx, rows: &[PositionRow]) -> Result<()> {
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

pub(super) async fn sessions(tx: &mut Tx, rows: &[SessionRow]) -> Result<()> {
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
