//! Creating tenants.

use std::sync::Arc;

use laneway_tenancy::TenantId;
use laneway_tenancy::control::{TenantBody, TenantKind, TenantState};

use super::{NewTenant, Tenant, change, row, slugs, topic_sets};
use crate::access::{Access, Tx};
use crate::codec::{to_json, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::homes::insert_secrets;
use crate::outbox::next_version;
use crate::shards::{Chosen, Place, keep_mark, mark};
use crate::{CreationStep, Host, MAIN, NewHost, NewKey, Store, creations, hosts, keys};

/// What a tenant is created with.
#[derive(Default)]
pub struct First<'a> {
    /// Its first key.
    pub owner: Option<NewKey<'a>>,
    pub hosts: &'a [NewHost],
    /// Told of each step, where there are several: how tests stop a creation half-way.
    pub after: Option<fn(CreationStep)>,
}

/// All or nothing: at once where all is in the main database, else step by step.
pub(super) async fn create_with(
    store: &Store,
    new: NewTenant,
    parent: Option<TenantId>,
    first: First<'_>,
    at: i64,
) -> Result<(Tenant, Vec<Host>)> {
    let place = place(store, &new, parent).await?;
    let Some(shard) = place.data.clone() else {
        return at_once(store, new, parent, first, at).await;
    };
    // Refused before anything is begun.
    store.0.shards.answers(&shard).await?;
    let tenant = new.id;
    let made = by_steps(store, new, place, parent, first, at).await;
    if made.is_err() {
        // Where it cannot be undone now, it is later, as one that was interrupted.
        if let Err(error) = creations::undo_own(store, tenant, &shard, at).await {
            tracing::warn!(%error, %tenant, "a creation is not undone yet");
        }
    }
    made
}

/// Where a new tenant will be: where the one above it is.
async fn place(store: &Store, new: &NewTenant, parent: Option<TenantId>) -> Result<Place> {
    let config = store.0.shards.config();
    let asked = new.database.as_deref();
    let chosen = Chosen {
        tenant: new.id,
        kind: new.kind,
        slug: &new.slug,
        asked,
    };
    let Some(parent) = parent else {
        let shard: Option<Arc<str>> = config.choose(&chosen)?.map(Arc::from);
        return Ok(Place {
            data: shard.clone(),
            home: shard,
        });
    };
    let above = store.place(parent).await?;
    let name = above.data.as_deref().unwrap_or(MAIN);
    if asked.is_some_and(|asked| asked != name) {
        return Err(StoreError::Refused(format!(
            "a tenant is in the database of the one above it, which is {name}"
        )));
    }
    Ok(above)
}

async fn by_steps(
    store: &Store,
    new: NewTenant,
    place: Place,
    parent: Option<TenantId>,
    first: First<'_>,
    at: i64,
) -> Result<(Tenant, Vec<Host>)> {
    let after = first.after.unwrap_or(|_| ());
    let shard = place.data.as_deref().unwrap_or(MAIN);
    let alone = parent.is_none() && store.0.shards.config().dedicated.contains(shard);
    let secrets: Vec<[u8; 32]> = first.owner.iter().map(|key| key.token_hash).collect();
    creations::reserve(store, &new, shard, at).await?;
    after(CreationStep::Reserved);
    mark(store, shard, new.id, alone, at).await?;
    after(CreationStep::Marked);
    creations::placed(store, new.id).await?;
    after(CreationStep::Placed);
    let home = store.in_place(place.home.as_deref())?;
    if let Some(parent) = parent.filter(|_| home.is_shard()) {
        let mut tx = home.read(Access::Here(parent)).await?;
        let above = super::by_id(&mut tx, parent).await?;
        tx.commit().await?;
        store.vet(above.as_slice()).await?;
    }
    let mut tx = home.write(Access::Platform).await?;
    if !home.is_shard() {
        creations::end(&mut tx, new.id).await?;
    } else if !keep_mark(&mut tx, new.id).await? {
        return Err(creations::interrupted());
    }
    let made = make(&mut tx, new, &place, parent, first, at).await?;
    home.commit_change(tx).await?;
    if home.is_shard() {
        after(CreationStep::Made);
        activate(store, &made.0, &secrets, at).await?;
    }
    store.mirror_soon(parent.as_slice()).await;
    after(CreationStep::Activated);
    Ok(made)
}

/// What the main database has of a tenant that was made elsewhere: from here on there is one.
async fn activate(store: &Store, tenant: &Tenant, secrets: &[[u8; 32]], at: i64) -> Result<()> {
    let mut tx = store.write(Access::Platform).await?;
    creations::end(&mut tx, tenant.id).await?;
    insert(&mut tx, tenant).await?;
    slugs::take(&mut tx, &tenant.body.slug, tenant.id, at).await?;
    insert_secrets(&mut tx, tenant.id, secrets, at).await?;
    tx.commit().await?;
    store.has_changed();
    Ok(())
}

/// In one transaction.
async fn at_once(
    store: &Store,
    new: NewTenant,
    parent: Option<TenantId>,
    first: First<'_>,
    at: i64,
) -> Result<(Tenant, Vec<Host>)> {
    let mut tx = store.write(Access::Platform).await?;
    let made = make(&mut tx, new, &Place::default(), parent, first, at).await?;
    store.commit_change(tx).await?;
    Ok(made)
}

/// With its first key and its hosts.
async fn make(
    tx: &mut Tx,
    new: NewTenant,
    place: &Place,
    parent: Option<TenantId>,
    first: First<'_>,
    at: i64,
) -> Result<(Tenant, Vec<Host>)> {
    let mut tenant = create(tx, new, place, parent, at).await?;
    if let Some(owner) = first.owner {
        keys::insert(tx, tenant.id, owner, at).await?;
        tenant.control_version += 1;
    }
    let mut hosts = Vec::with_capacity(first.hosts.len());
    for NewHost { host, token } in first.hosts {
        tenant.control_version = next_version(tx, tenant.id).await?;
        let version = tenant.control_version;
        hosts.push(hosts::insert(tx, tenant.id, host, token, version, at).await?);
    }
    Ok((tenant, hosts))
}

/// The outermost tenant is no level, an application tenant one, a namespace of it two.
async fn create(
    tx: &mut Tx,
    new: NewTenant,
    place: &Place,
    parent: Option<TenantId>,
    at: i64,
) -> Result<Tenant> {
    let parent = match parent {
        Some(id) => Some(make_room(tx, id, &new, at).await?),
        None => None,
    };
    let held = parent
        .as_ref()
        .is_some_and(|p| p.body.state != TenantState::Active);
    let (placement, topic_set) = match &parent {
        Some(above) => {
            let placement = new.placement.in_set(above.body.placement.set());
            (placement, above.topic_set.clone())
        }
        None => (new.placement, new.topic_set),
    };
    let own_state = TenantState::Active;
    let tenant = Tenant {
        id: new.id,
        body: TenantBody {
            slug: new.slug,
            parent: parent.map(|p| p.id),
            kind: new.kind,
            state: row::effective(own_state, held),
            placement,
            limits: new.limits,
            options: new.options,
            former: Vec::new(),
        },
        name: new.name,
        plan: new.plan,
        own_state,
        held,
        total_limits: new.limits,
        version: 1,
        control_version: 1,
        created_at: at,
        shard: place.data.as_deref().map(str::to_owned),
        home: place.home.as_deref().map(str::to_owned),
        topic_set,
    };
    insert(tx, &tenant).await?;
    slugs::take(tx, &tenant.body.slug, tenant.id, at).await?;
    change::publish(tx, &tenant, at).await?;
    Ok(tenant)
}

/// Takes the limits of a new tenant off those of the one above it.
async fn make_room(tx: &mut Tx, id: TenantId, new: &NewTenant, at: i64) -> Result<Tenant> {
    let version = next_version(tx, id).await?;
    let mut parent = row::by_id(tx, id)
        .await?
        .ok_or_else(|| StoreError::Missing {
            what: format!("tenant {id}"),
        })?;
    let fits = match new.kind {
        TenantKind::Namespace => parent.body.kind == TenantKind::Tenant,
        TenantKind::Tenant => {
            parent.body.kind == TenantKind::Tenant && parent.body.parent.is_none()
        }
        TenantKind::Default
        | TenantKind::Runtime
        | TenantKind::Platform
        | TenantKind::Partner
        | TenantKind::Other => false,
    };
    if !fits {
        return Err(StoreError::Refused(
            "a tenant of a tenant has namespaces below it, but no tenants, and a namespace has nothing below it".to_owned(),
        ));
    }
    if parent.own_state.is_ending() {
        return Err(StoreError::Refused("the tenant is being closed".to_owned()));
    }
    let mut below = change::limits_below(tx, id, None).await?;
    let most = parent.total_limits.tenants;
    if most > 0 && below.len() >= most as usize {
        return Err(StoreError::LimitReached {
            limit: "tenants",
            most: most.into(),
        });
    }
    below.push(new.limits);
    parent.control_version = version;
    change::share(tx, &mut parent, &below, at).await?;
    Ok(parent)
}

async fn insert(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    let inserted = sqlx::query(
        "INSERT INTO tenants (tenant_id, slug, parent, kind, name, plan, state, held, placement, limits,
            options, version, control_version, created_at, shard, home, topic_set)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant.id.to_string())
    .bind(tenant.body.slug.as_str())
    .bind(tenant.body.parent.map(|p| p.to_string()))
    .bind(variant_name(&tenant.body.kind)?)
    .bind(tenant.name.as_str())
    .bind(tenant.plan.as_str())
    .bind(variant_name(&tenant.own_state)?)
    .bind(i64::from(tenant.held))
    .bind(to_json(&tenant.body.placement)?)
    .bind(to_json(&tenant.body.limits)?)
    .bind(to_json(&tenant.body.options)?)
    .bind(tenant.version)
    .bind(tenant.control_version)
    .bind(tenant.created_at)
    .bind(tenant.shard.as_deref().unwrap_or_default())
    .bind(tenant.home.as_deref().unwrap_or_default())
    .bind(tenant.topic_set.as_deref().unwrap_or_default())
    .execute(&mut *tx.inner)
    .await
    .doing("creating a tenant")?;
    if inserted.rows_affected() == 0 {
        if let (Some(set), None) = (&tenant.topic_set, tenant.body.parent) {
            topic_sets::check_free(tx, set).await?;
        }
        return Err(StoreError::Exists {
            what: format!("a tenant with the slug {}", tenant.body.slug),
        });
    }
    Ok(())
}
