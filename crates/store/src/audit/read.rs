//! Reading a chain, and erasing what is personal of it.

use laneway_tenancy::TenantId;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::entry::{AuditEntry, Commitments, Facts, Opened, Salted};
use crate::access::Tx;
use crate::codec::Named;
use crate::error::{Doing, Result};

/// Which entries of a chain, oldest first. An empty text and a zero are no bound.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Entries after this one.
    pub after: i64,
    /// At this time or later.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// Exactly this action.
    pub action: String,
    /// Exactly this principal.
    pub principal: String,
    pub limit: u32,
}

/// How long a chain is, and its last hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    pub tenant: TenantId,
    pub entries: i64,
    pub hash: String,
}

const DOING: &str = "reading an audit trail";

pub(crate) async fn select(
    tx: &mut Tx,
    tenant: TenantId,
    query: &AuditQuery,
) -> Result<Vec<AuditEntry>> {
    // Each filter has its index; one that is not asked for is not in the statement.
    let mut sql = "SELECT tenant_id, seq, at, action, target, outcome, principal, principal_tenant,
            request_tenant, request_id, count, first_at, last_at, detail,
            address, user_agent, name, previous, hash
         FROM audit_entries WHERE tenant_id = $1 AND seq > $2 AND at >= $3 AND at < $4"
        .to_owned();
    let mut texts = Vec::new();
    for (column, text) in [("action", &query.action), ("principal", &query.principal)] {
        if !text.is_empty() {
            texts.push(text.as_str());
            sql.push_str(&format!(" AND {column} = ${}", 5 + texts.len()));
        }
    }
    sql.push_str(" ORDER BY seq LIMIT $5");
    let mut asked = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tenant.to_string())
        .bind(query.after)
        .bind(query.since.unwrap_or(i64::MIN))
        .bind(query.until.unwrap_or(i64::MAX))
        .bind(i64::from(query.limit));
    for text in texts {
        asked = asked.bind(text.to_owned());
    }
    let rows = asked.fetch_all(&mut *tx.inner).await.doing(DOING)?;
    let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>>>()?;
    open(tx, tenant, &mut entries).await?;
    Ok(entries)
}

/// Adds what is personal, where it is not erased.
async fn open(tx: &mut Tx, tenant: TenantId, entries: &mut [AuditEntry]) -> Result<()> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Ok(());
    };
    let rows = sqlx::query(
        "SELECT seq, field, salt, value FROM audit_personal
         WHERE tenant_id = $1 AND seq >= $2 AND seq <= $3",
    )
    .bind(tenant.to_string())
    .bind(first.seq)
    .bind(last.seq)
    .fetch_all(&mut *tx.inner)
    .await
    .doing(DOING)?;
    for row in &rows {
        let seq: i64 = row.try_get("seq").doing(DOING)?;
        let Ok(at) = entries.binary_search_by_key(&seq, |entry| entry.seq) else {
            continue;
        };
        let name = format!("{tenant}/{seq}");
        let row = Named::new("audit_personal", &name, row);
        let salted = Salted {
            salt: row.get("salt")?,
            value: row.get("value")?,
        };
        let personal = &mut entries[at].personal;
        match row.get::<String>("field")?.as_str() {
            "address" => personal.address = Some(salted),
            "user_agent" => personal.user_agent = Some(salted),
            "name" => personal.name = Some(salted),
            _ => {}
        }
    }
    Ok(())
}

/// Erases what is personal of a principal; says of how many fields.
pub(crate) async fn erase(tx: &mut Tx, tenant: TenantId, principal: &str) -> Result<u64> {
    let erased = sqlx::query("DELETE FROM audit_personal WHERE tenant_id = $1 AND principal = $2")
        .bind(tenant.to_string())
        .bind(principal)
        .execute(&mut *tx.inner)
        .await
        .doing("erasing what is personal of an audit trail")?;
    Ok(erased.rows_affected())
}

pub(crate) async fn heads(
    tx: &mut Tx,
    after: Option<TenantId>,
    limit: u32,
) -> Result<Vec<AuditHead>> {
    let rows = sqlx::query(
        "SELECT tenant_id, seq, hash FROM audit_heads WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2",
    )
    .bind(after.map_or_else(String::new, |id| id.to_string()))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("reading the heads of the audit trails")?;
    rows.iter()
        .map(|row| {
            let row = Named::new("audit_heads", "", row);
            Ok(AuditHead {
                tenant: row.parse("tenant_id")?,
                entries: row.get("seq")?,
                hash: row.get("hash")?,
            })
        })
        .collect()
}

fn entry(row: &AnyRow) -> Result<AuditEntry> {
    let row = Named::new("audit_entries", "", row);
    Ok(AuditEntry {
        tenant: row.get("tenant_id")?,
        seq: row.get("seq")?,
        facts: Facts {
            at: row.get("at")?,
            action: row.get("action")?,
            target: row.get("target")?,
            outcome: row.get("outcome")?,
            principal: row.get("principal")?,
            principal_tenant: row.get("principal_tenant")?,
            request_tenant: row.get("request_tenant")?,
            request_id: row.get("request_id")?,
            count: row.get("count")?,
            first_at: row.get("first_at")?,
            last_at: row.get("last_at")?,
            detail: row.get("detail")?,
        },
        commitments: Commitments {
            address: row.get("address")?,
            user_agent: row.get("user_agent")?,
            name: row.get("name")?,
        },
        previous: row.get("previous")?,
        hash: row.get("hash")?,
        personal: Opened::default(),
    })
}
