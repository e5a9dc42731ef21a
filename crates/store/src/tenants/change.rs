//! Changing tenants: one row, what follows for its family, and the news of it.

use laneway_schemas::ControlKind;
use laneway_tenancy::TenantId;
use laneway_tenancy::control::{Limits, TenantBody, TenantState};
use laneway_tenancy::options::Options;
use sqlx::Row;

use super::{Tenant, renaming, row, slugs};
use crate::Store;
use crate::access::{Access, Tx};
use crate::closures;
use crate::codec::{Named, to_json, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};

#[derive(Debug, Clone, PartialEq)]
pub enum TenantChange {
    State(TenantState),
    /// All that it is given; what it gives away is taken off.
    Limits(Limits),
    /// What is given of these.
    Settings {
        name: Option<String>,
        plan: Option<String>,
        options: Option<Options>,
    },
    /// A new slug; the one before leads to the tenant until then.
    Slug {
        slug: String,
        until: i64,
    },
}

/// A change that somebody asks for.
pub(super) struct Asked {
    pub(super) id: TenantId,
    /// The tenant that it has to be directly below.
    pub(super) parent: Option<TenantId>,
    /// The version that it has to be at.
    pub(super) expected: Option<i64>,
    pub(super) change: TenantChange,
    pub(super) at: i64,
}

pub(super) async fn change(store: &Store, asked: Asked) -> Result<Tenant> {
    let claimed = match &asked.change {
        TenantChange::Slug { slug, .. } => renaming::claim(store, &asked, slug).await?,
        _ => None,
    };
    let made = async {
        let mut tx = store.write(Access::Family(asked.id)).await?;
        let tenant = change_in(&mut tx, asked).await?;
        if let Some(claimed) = &claimed {
            claimed.check(&tx)?;
        }
        store.commit_change(tx).await?;
        Ok(tenant)
    };
    let made: Result<Tenant> = made.await;
    if let (Err(error), Some(claimed)) = (&made, &claimed) {
        // It may have been committed for all that is known where the database has gone away.
        if !error.is_transient() {
            claimed.release(store).await;
        }
    }
    made
}

/// In a transaction. Rows are locked from the head of a family downwards.
async fn change_in(tx: &mut Tx, asked: Asked) -> Result<Tenant> {
    let Asked {
        id,
        parent,
        expected,
        change,
        at,
    } = asked;
    let missing = || StoreError::Missing {
        what: format!("tenant {id}"),
    };
    let known = row::by_id(tx, id).await?.ok_or_else(missing)?;
    if parent.is_some() && known.body.parent != parent {
        return Err(missing());
    }
    let gives_back = matches!(
        change,
        TenantChange::Limits(_) | TenantChange::State(TenantState::Closed)
    );
    if let Some(above) = known.body.parent.filter(|_| gives_back) {
        let given = match &change {
            TenantChange::Limits(limits) => Some(*limits),
            _ => None,
        };
        divide_anew(tx, above, id, given, at).await?;
    }
    let version = next_version(tx, id).await?;
    let mut tenant = row::by_id(tx, id).await?.ok_or_else(missing)?;
    if expected.is_some_and(|expected| expected != tenant.version) {
        return Err(StoreError::Changed {
            what: format!("tenant {id}"),
        });
    }
    tenant.control_version = version;
    let was_active = tenant.body.state == TenantState::Active;
    match change {
        TenantChange::State(state) => {
            tenant.own_state = state;
            if state == TenantState::Closing {
                closures::begin(tx, id, at).await?;
            }
            tenant.body.state = row::effective(state, tenant.held);
        }
        TenantChange::Limits(limits) => {
            tenant.total_limits = limits;
            let below = limits_below(tx, id, None).await?;
            tenant.body.limits = limits.less(&below).map_err(refused)?;
        }
        TenantChange::Settings {
            name,
            plan,
            options,
        } => {
            tenant.name = name.unwrap_or(tenant.name);
            tenant.plan = plan.unwrap_or(tenant.plan);
            tenant.body.options = options.unwrap_or(tenant.body.options);
        }
        TenantChange::Slug { slug, until } => {
            if slug != tenant.body.slug {
                slugs::take(tx, &slug, id, at).await?;
                slugs::leave(tx, &tenant.body.slug, until).await?;
                renaming::namespaces(tx, id, &tenant.body.slug, &slug, until, at).await?;
                tenant.body.slug = slug;
            }
        }
    }
    write(tx, &mut tenant).await?;
    publish(tx, &tenant, at).await?;
    let is_active = tenant.body.state == TenantState::Active;
    if was_active != is_active {
        hold_below(tx, id, !is_active, at).await?;
    }
    Ok(tenant)
}

/// Tenants below one that is not active are not either, and come back with it.
async fn hold_below(tx: &mut Tx, parent: TenantId, hold: bool, at: i64) -> Result<()> {
    let mut waiting = vec![parent];
    while let Some(parent) = waiting.pop() {
        for id in ids_below(tx, parent).await? {
            let version = next_version(tx, id).await?;
            sqlx::query("UPDATE tenants SET held = $2 WHERE tenant_id = $1")
                .bind(id.to_string())
                .bind(i64::from(hold))
                .execute(&mut *tx.inner)
                .await
                .doing("holding a tenant below another")?;
            let Some(mut tenant) = row::by_id(tx, id).await? else {
                continue;
            };
            tenant.control_version = version;
            publish(tx, &tenant, at).await?;
            // Below one that stays suspended by itself nothing changes.
            if tenant.own_state == TenantState::Active {
                waiting.push(id);
            }
        }
    }
    Ok(())
}

pub(super) async fn ids_below(tx: &mut Tx, parent: TenantId) -> Result<Vec<TenantId>> {
    let rows = sqlx::query("SELECT tenant_id FROM tenants WHERE parent = $1 ORDER BY tenant_id")
        .bind(parent.to_string())
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing tenants below another")?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get(0).doing("listing tenants below another")?;
            Named::new("tenants", &id, row).parse("tenant_id")
        })
        .collect()
}

/// What the tenants directly below one were given, but for the one that is left out.
pub(super) async fn limits_below(
    tx: &mut Tx,
    parent: TenantId,
    but: Option<TenantId>,
) -> Result<Vec<Limits>> {
    let rows = sqlx::query(
        "SELECT tenant_id, COALESCE(total_limits, limits) AS limits FROM tenants
         WHERE parent = $1 AND tenant_id <> $2 AND state <> 'closed'",
    )
    .bind(parent.to_string())
    .bind(but.map_or_else(String::new, |id| id.to_string()))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("reading the limits of tenants below another")?;
    rows.iter()
        .map(|row| {
            let id: String = row
                .try_get("tenant_id")
                .doing("reading the limits of tenants below another")?;
            Named::new("tenants", &id, row).json("limits")
        })
        .collect()
}

/// One of the tenants below `parent` is given something else, or nothing any more.
pub(crate) async fn divide_anew(
    tx: &mut Tx,
    parent: TenantId,
    below: TenantId,
    given: Option<Limits>,
    at: i64,
) -> Result<()> {
    let version = next_version(tx, parent).await?;
    let mut others = limits_below(tx, parent, Some(below)).await?;
    others.extend(given);
    let mut above = row::by_id(tx, parent)
        .await?
        .ok_or_else(|| StoreError::Missing {
            what: format!("tenant {parent}"),
        })?;
    above.control_version = version;
    share(tx, &mut above, &others, at).await
}

/// What is left for a tenant when those below it have been given `below`.
pub(super) async fn share(
    tx: &mut Tx,
    tenant: &mut Tenant,
    below: &[Limits],
    at: i64,
) -> Result<()> {
    tenant.body.limits = tenant.total_limits.less(below).map_err(refused)?;
    write(tx, tenant).await?;
    publish(tx, tenant, at).await
}

fn refused(error: laneway_tenancy::ShareError) -> StoreError {
    StoreError::Refused(error.to_string())
}

pub(super) async fn write(tx: &mut Tx, tenant: &mut Tenant) -> Result<()> {
    tenant.version += 1;
    sqlx::query(
        "UPDATE tenants SET slug = $2, name = $3, plan = $4, state = $5, limits = $6, total_limits = $7,
            options = $8, version = $9
         WHERE tenant_id = $1",
    )
    .bind(tenant.id.to_string())
    .bind(tenant.body.slug.as_str())
    .bind(tenant.name.as_str())
    .bind(tenant.plan.as_str())
    .bind(variant_name(&tenant.own_state)?)
    .bind(to_json(&tenant.body.limits)?)
    .bind(to_json(&tenant.total_limits)?)
    .bind(to_json(&tenant.body.options)?)
    .bind(tenant.version)
    .execute(&mut *tx.inner)
    .await
    .doing("changing a tenant")?;
    Ok(())
}

pub(super) async fn publish(tx: &mut Tx, tenant: &Tenant, at: i64) -> Result<()> {
    let id = tenant.id.to_string();
    let body = TenantBody {
        former: slugs::former_of(tx, tenant.id, at).await?,
        ..tenant.body.clone()
    };
    let change = Change {
        tenant: tenant.id,
        version: tenant.control_version,
        kind: ControlKind::Tenant,
        id: &id,
        deleted: false,
        body: Some(to_json(&body)?),
        at,
    };
    emit(tx, change).await
}
