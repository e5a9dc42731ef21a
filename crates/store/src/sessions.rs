//! Sessions, as the projection wrote them.

use std::collections::BTreeMap;

use laneway_tenancy::{DeviceId, SessionId, TenantScope};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Begun; nothing is known of its fixes yet.
    Started,
    /// Open, with fixes.
    Updated,
    Stopped,
}

impl SessionState {
    /// How far along, as it is stored.
    pub(crate) fn stage(self) -> i64 {
        match self {
            SessionState::Started => 0,
            SessionState::Updated => 1,
            SessionState::Stopped => 2,
        }
    }

    fn from_stage(stage: i64) -> Option<Self> {
        [
            SessionState::Started,
            SessionState::Updated,
            SessionState::Stopped,
        ]
        .into_iter()
        .find(|s| s.stage() == stage)
    }
}

/// Times are microseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
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
    pub attributes: BTreeMap<String, String>,
}

/// The sessions of one tenant.
pub struct Sessions<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str =
    "SELECT device_id, session_id, stage, revision, started_at, stopped_at, last_fix_at, fixes,
    distance_m, duration_s, attributes FROM sessions";

impl Sessions<'_> {
    /// A session by its id, unique within its device: without a device, the one that began last
    /// of those with this id.
    pub async fn find(
        &self,
        device: Option<&DeviceId>,
        session: &SessionId,
    ) -> Result<Option<Session>> {
        let tenant = self.scope.tenant();
        let data = self.store.data(tenant).await?;
        let mut tx = data.read(Access::Tenant(tenant)).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND session_id = $2 AND ($3 = '' OR device_id = $3)
             ORDER BY COALESCE(started_at, last_fix_at, 0) DESC, device_id LIMIT 1"
        )))
        .bind(tenant.to_string())
        .bind(session.as_str())
        .bind(device.map_or("", DeviceId::as_str))
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a session")?;
        tx.commit().await?;
        row.as_ref().map(read).transpose()
    }

    /// Sessions of a device by id, after `after`.
    pub async fn of_device(
        &self,
        device: &DeviceId,
        after: Option<&SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>> {
        let tenant = self.scope.tenant();
        let data = self.store.data(tenant).await?;
        let mut tx = data.read(Access::Tenant(tenant)).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND device_id = $2 AND session_id > $3 ORDER BY session_id LIMIT $4"
        )))
        .bind(tenant.to_string())
        .bind(device.as_str())
        .bind(after.map_or("", SessionId::as_str))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing sessions")?;
        tx.commit().await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<Session> {
    let id: String = row.try_get("session_id").doing("reading a session")?;
    let row = Named::new("sessions", &id, row);
    let stage: i64 = row.get("stage")?;
    let attributes: Option<String> = row.get("attributes")?;
    Ok(Session {
        device: row.parse("device_id")?,
        session: row.parse("session_id")?,
        state: SessionState::from_stage(stage).ok_or_else(|| StoreError::Corrupt {
            table: "sessions",
            row: id.clone(),
            reason: format!("stage: {stage} is none"),
        })?,
        revision: row.get("revision")?,
        started_at: row.get("started_at")?,
        stopped_at: row.get("stopped_at")?,
        last_fix_at: row.get("last_fix_at")?,
        fixes: row.get("fixes")?,
        distance_m: row.get("distance_m")?,
        duration_s: row.get("duration_s")?,
        attributes: match attributes {
            Some(_) => row.json("attributes")?,
            None => BTreeMap::new(),
        },
    })
}
