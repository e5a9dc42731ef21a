//! What a shard says of its tenants, held against what the main database has of them.
//!
//! Invariant: who can write to a shard can do to its tenants what an owner can, and raise their
//! limits, and nothing to anybody else. So of a tenant's row that was read there, and of the news
//! that a shard has, these have to be as the main database says: that the tenant is there, its
//! kind, the tenant above, its lanes and topics, what it is called, and which hosts are live.

use std::collections::{BTreeSet, HashMap, HashSet};

use laneway_schemas::ControlKind;
use laneway_tenancy::TenantId;
use laneway_tenancy::control::{FormerSlug, HostBody, HostState, TenantBody};
use sqlx::Row;

use crate::access::{Access, Tx};
use crate::chunks::{chunks, list};
use crate::codec::{Named, to_json, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::tenants::{self, Tenant};
use crate::{OutboxRow, Store};

const DOING: &str = "comparing what two databases say of a tenant";

impl Store {
    /// Refuses rows of tenants that were read in a shard.
    pub(crate) async fn vet(&self, own: &[Tenant]) -> Result<()> {
        let mut tx = self.read(Access::Platform).await?;
        let copies = copies(&mut tx, own.iter().map(|tenant| tenant.id)).await?;
        let slugs = own.iter().map(|tenant| tenant.body.slug.as_str());
        let owners = owners(&mut tx, slugs).await?;
        tx.commit().await?;
        for tenant in own {
            let copy = copies.get(&tenant.id);
            let copy = copy.ok_or_else(|| refused(tenant.id, "that it is there"))?;
            let places = |t: &Tenant| (t.shard.clone(), t.home.clone(), t.topic_set.clone());
            if places(tenant) != places(copy) {
                return Err(refused(tenant.id, "where it is"));
            }
            check(tenant.id, &tenant.body, copy, &owners)?;
        }
        Ok(())
    }

    /// Refuses news of a shard. A host that is not the tenant's by now is not told to be live: what
    /// has become of it comes after.
    pub(crate) async fn vet_news(&self, shard: &str, news: &mut [OutboxRow]) -> Result<()> {
        let mut tx = self.read(Access::Platform).await?;
        let copies = copies(&mut tx, news.iter().map(|row| row.tenant)).await?;
        for row in news.iter_mut() {
            let copy = copies.get(&row.tenant);
            let copy = copy.filter(|copy| copy.home.as_deref() == Some(shard));
            let copy = copy.ok_or_else(|| refused(row.tenant, "that it is there"))?;
            match row.kind {
                ControlKind::Tenant => {
                    let body: TenantBody = body(row)?;
                    let slugs = body.former.iter().map(|former: &FormerSlug| &*former.slug);
                    let slugs = slugs.chain([&*body.slug]);
                    let owners = owners(&mut tx, slugs).await?;
                    check(row.tenant, &body, copy, &owners)?;
                    let theirs = |former: &FormerSlug| {
                        let owner = owners.get(&former.slug);
                        owner.is_some_and(|owner| *owner != row.tenant)
                    };
                    if body.former.iter().any(theirs) {
                        return Err(refused(row.tenant, "what it was called"));
                    }
                }
                ControlKind::Host if !row.deleted => {
                    let mut body: HostBody = body(row)?;
                    if body.state == HostState::Live && !claimed(&mut tx, row).await? {
                        body.state = HostState::Pending;
                        row.body = to_json(&body)?;
                    }
                }
                _ => {}
            }
        }
        tx.commit().await
    }

    /// Of what was found in databases, what is of tenants whose own they are.
    pub(crate) async fn of_their_own<T>(
        &self,
        found: Vec<(Option<&str>, T)>,
        tenant: impl Fn(&T) -> TenantId,
    ) -> Result<Vec<T>> {
        let tenants: BTreeSet<TenantId> = found.iter().map(|(_, one)| tenant(one)).collect();
        let tenants: Vec<TenantId> = tenants.into_iter().collect();
        let places = self.places(&tenants).await?;
        let own = found.into_iter().filter(|(database, one)| {
            let place = places.get(&tenant(one));
            place.and_then(|place| place.home.as_deref()) == *database
        });
        Ok(own.map(|(_, one)| one).collect())
    }
}

fn refused(tenant: TenantId, what: &str) -> StoreError {
    StoreError::Unavailable {
        doing: DOING,
        reason: format!("the own database of {tenant} says otherwise than the main one {what}"),
    }
}

fn check(
    tenant: TenantId,
    body: &TenantBody,
    copy: &Tenant,
    owners: &HashMap<String, TenantId>,
) -> Result<()> {
    if (body.kind, body.parent) != (copy.body.kind, copy.body.parent) {
        return Err(refused(tenant, "what it is"));
    }
    if body.placement != copy.body.placement {
        return Err(refused(tenant, "where its events are"));
    }
    if owners.get(&body.slug) != Some(&tenant) {
        return Err(refused(tenant, "what it is called"));
    }
    Ok(())
}

fn body<T: serde::de::DeserializeOwned>(row: &OutboxRow) -> Result<T> {
    serde_json::from_str(&row.body).map_err(|error| StoreError::Corrupt {
        table: "outbox",
        row: row.seq.to_string(),
        reason: error.to_string(),
    })
}

/// What the main database has of tenants.
async fn copies(
    tx: &mut Tx,
    tenants: impl Iterator<Item = TenantId>,
) -> Result<HashMap<TenantId, Tenant>> {
    let tenants: BTreeSet<TenantId> = tenants.collect();
    let tenants: Vec<TenantId> = tenants.into_iter().collect();
    let copies = tenants::by_ids(tx, &tenants).await?.into_iter();
    Ok(copies.map(|copy| (copy.id, copy)).collect())
}

/// Whose slugs are.
async fn owners(
    tx: &mut Tx,
    slugs: impl Iterator<Item = &str>,
) -> Result<HashMap<String, TenantId>> {
    let slugs: HashSet<&str> = slugs.collect();
    let slugs: Vec<&str> = slugs.into_iter().collect();
    let mut owners = HashMap::with_capacity(slugs.len());
    for chunk in chunks(&slugs) {
        let places = list(1, chunk.len());
        let sql = format!("SELECT slug, tenant_id FROM slugs WHERE slug IN ({places})");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for slug in chunk {
            query = query.bind(*slug);
        }
        for row in query.fetch_all(&mut *tx.inner).await.doing(DOING)? {
            let slug: String = row.try_get("slug").doing(DOING)?;
            let owner = Named::new("slugs", &slug, &row).parse("tenant_id")?;
            owners.insert(slug, owner);
        }
    }
    Ok(owners)
}

/// Whether the main database has the host as the tenant's.
async fn claimed(tx: &mut Tx, row: &OutboxRow) -> Result<bool> {
    let claim =
        sqlx::query("SELECT host FROM hosts WHERE tenant_id = $1 AND host = $2 AND state = $3")
            .bind(row.tenant.to_string())
            .bind(row.id.as_str())
            .bind(variant_name(&HostState::Live)?)
            .fetch_optional(&mut *tx.inner)
            .await
            .doing(DOING)?;
    Ok(claim.is_some())
}
