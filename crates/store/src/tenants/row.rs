//! Reading tenants.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::{Limits, TenantBody, TenantKind, TenantState};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::Tenant;
use crate::access::Tx;
use crate::chunks::{chunks, list as places};
use crate::codec::{Named, variant_name};
use crate::error::{Doing, Result};

const COLUMNS: &str = "SELECT tenant_id, slug, parent, kind, name, plan, state, held, placement, limits, total_limits, options,
    version, control_version, created_at, shard, home, topic_set FROM tenants";

pub(crate) async fn by_id(tx: &mut Tx, id: TenantId) -> Result<Option<Tenant>> {
    one(tx, "tenant_id = $1", id.to_string()).await
}

pub(crate) async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Tenant>> {
    one(tx, "slug = $1", slug.to_owned()).await
}

/// Those that there are.
pub(crate) async fn by_ids(tx: &mut Tx, ids: &[TenantId]) -> Result<Vec<Tenant>> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let places = places(1, chunk.len());
        let sql = format!("{COLUMNS} WHERE tenant_id IN ({places})");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind(id.to_string());
        }
        let rows = query.fetch_all(&mut *tx.inner).await;
        for row in rows.doing("looking for tenants")? {
            found.push(tenant(&row)?);
        }
    }
    Ok(found)
}

async fn one(tx: &mut Tx, condition: &'static str, value: String) -> Result<Option<Tenant>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE {condition}")))
        .bind(value)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a tenant")?;
    row.as_ref().map(tenant).transpose()
}

/// One by id or slug, of those directly below `parent`.
pub(super) async fn below(tx: &mut Tx, parent: TenantId, name: &str) -> Result<Option<Tenant>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE (tenant_id = $1 OR slug = $1) AND parent = $2"
    )))
    .bind(name)
    .bind(parent.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a tenant below another")?;
    row.as_ref().map(tenant).transpose()
}

/// By id, after `after`: all, or those directly below `parent`, or of a kind, or both.
pub(super) async fn list(
    tx: &mut Tx,
    parent: Option<TenantId>,
    kind: Option<TenantKind>,
    after: Option<TenantId>,
    limit: u32,
) -> Result<Vec<Tenant>> {
    let condition = match (parent, kind) {
        (None, None) => "tenant_id > $1",
        (Some(_), None) => "tenant_id > $1 AND parent = $3",
        (None, Some(_)) => "tenant_id > $1 AND kind = $3",
        (Some(_), Some(_)) => "tenant_id > $1 AND parent = $3 AND kind = $4",
    };
    let mut query = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE {condition} ORDER BY tenant_id LIMIT $2"
    )))
    .bind(after.map_or_else(String::new, |id| id.to_string()))
    .bind(i64::from(limit));
    if let Some(parent) = parent {
        query = query.bind(parent.to_string());
    }
    if let Some(kind) = kind {
        query = query.bind(variant_name(&kind)?);
    }
    let rows = query
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing tenants")?;
    rows.iter().map(tenant).collect()
}

fn tenant(row: &AnyRow) -> Result<Tenant> {
    let id: String = row.try_get("tenant_id").doing("reading a tenant")?;
    let row = Named::new("tenants", &id, row);
    let parent: Option<String> = row.get("parent")?;
    let limits: Limits = row.json("limits")?;
    let total: Option<String> = row.get("total_limits")?;
    let own_state: TenantState = row.variant("state")?;
    let held = row.get::<i64>("held")? != 0;
    let shard: String = row.get("shard")?;
    let home: String = row.get("home")?;
    let topic_set: String = row.get("topic_set")?;
    Ok(Tenant {
        id: row.parse("tenant_id")?,
        body: TenantBody {
            slug: row.get("slug")?,
            parent: match parent {
                Some(_) => Some(row.parse("parent")?),
                None => None,
            },
            kind: row.variant("kind")?,
            state: effective(own_state, held),
            placement: row.json("placement")?,
            limits,
            options: row.json("options")?,
            former: Vec::new(),
        },
        name: row.get("name")?,
        plan: row.get("plan")?,
        own_state,
        held,
        total_limits: match total {
            Some(_) => row.json("total_limits")?,
            None => limits,
        },
        version: row.get("version")?,
        control_version: row.get("control_version")?,
        created_at: row.get("created_at")?,
        shard: (!shard.is_empty()).then_some(shard),
        home: (!home.is_empty()).then_some(home),
        topic_set: (!topic_set.is_empty()).then_some(topic_set),
    })
}

/// The state of a tenant when one above it is not active.
pub(super) fn effective(own: TenantState, held: bool) -> TenantState {
    match own {
        TenantState::Active if held => TenantState::Suspended,
        own => own,
    }
}
