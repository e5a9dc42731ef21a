//! Which databases tenants are known to have, so that it is not asked for at every query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use laneway_tenancy::TenantId;
use sqlx::Row;

use super::unavailable;
use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, list};
use crate::codec::Named;
use crate::error::{Doing, Result};

/// Tenants that are remembered; with more, it begins anew.
const MOST: usize = 100_000;

/// A database: none for the main one.
type Shard = Option<Arc<str>>;

/// Where a tenant is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the stream writes of it.
    pub(crate) data: Shard,
    /// All else that is its own. In the main database, or where its data is.
    pub(crate) home: Shard,
}

/// What was found once holds: a tenant's databases do not change.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<TenantId, Found>>);

struct Found {
    place: Place,
    /// Its own row was seen in its own database.
    seen: bool,
}

impl Known {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, tenant: TenantId) -> Option<Place> {
        self.lock().get(&tenant).map(|found| found.place.clone())
    }

    fn is_seen(&self, tenant: TenantId) -> bool {
        self.lock().get(&tenant).is_some_and(|found| found.seen)
    }

    fn see(&self, tenant: TenantId) {
        if let Some(found) = self.lock().get_mut(&tenant) {
            found.seen = true;
        }
    }

    fn unknown(&self, tenants: &[TenantId]) -> Vec<TenantId> {
        let known = self.lock();
        let unknown = tenants.iter().filter(|tenant| !known.contains_key(tenant));
        unknown.copied().collect()
    }

    fn remember(&self, found: &HashMap<TenantId, Place>) {
        let mut known = self.lock();
        if known.len() + found.len() > MOST {
            known.clear();
        }
        for (tenant, place) in found {
            let place = place.clone();
            known.entry(*tenant).or_insert(Found { place, seen: false });
        }
    }
}

impl Store {
    /// Where the tenant is. One without a row has nothing of its own: what is written in its name
    /// is in the main database, and nobody reads it.
    pub(crate) async fn place(&self, tenant: TenantId) -> Result<Place> {
        if let Some(known) = self.0.shards.known.get(tenant) {
            return Ok(known);
        }
        let mut found = self.places(&[tenant]).await?;
        Ok(found.remove(&tenant).unwrap_or_default())
    }

    /// Refuses a database that has not the tenant's own row: it is not the one that it was, and what
    /// it lacks says nothing. It is looked at once.
    pub(super) async fn see_at(&self, home: &Store, name: &str, tenant: TenantId) -> Result<()> {
        let known = &self.0.shards.known;
        if known.is_seen(tenant) {
            return Ok(());
        }
        if !home.knows(tenant).await? {
            return Err(unavailable(
                name,
                "is not the one that it was: it knows nothing of the tenant",
            ));
        }
        known.see(tenant);
        Ok(())
    }

    /// Whether the tenant's row is in this database.
    pub(super) async fn knows(&self, tenant: TenantId) -> Result<bool> {
        let mut tx = self.begin_here(Access::Here(tenant), false).await?;
        let has = has(&mut tx, tenant).await?;
        tx.commit().await?;
        Ok(has)
    }

    /// The names of the tenants' shards, in their order.
    pub(crate) async fn shards_of(&self, tenants: &[TenantId]) -> Result<Vec<Shard>> {
        let places = self.places(tenants).await?;
        let data = |tenant| {
            places
                .get(tenant)
                .and_then(|place: &Place| place.data.clone())
        };
        Ok(tenants.iter().map(data).collect())
    }

    /// Where tenants are, of those that there are.
    pub(crate) async fn places(&self, tenants: &[TenantId]) -> Result<HashMap<TenantId, Place>> {
        let known = &self.0.shards.known;
        let unknown = known.unknown(tenants);
        let mut found = HashMap::new();
        if !unknown.is_empty() {
            let mut tx = self.begin_here(Access::Platform, false).await?;
            for chunk in chunks(&unknown) {
                look_up(&mut tx, chunk, &mut found).await?;
            }
            tx.commit().await?;
            known.remember(&found);
        }
        for tenant in tenants {
            if let Some(place) = known.get(*tenant) {
                found.insert(*tenant, place);
            }
        }
        Ok(found)
    }
}

/// Whether a tenant's row is in this database.
pub(crate) async fn has(tx: &mut Tx, tenant: TenantId) -> Result<bool> {
    let row = sqlx::query("SELECT tenant_id FROM tenants WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a tenant in its database")?;
    Ok(row.is_some())
}

async fn look_up(
    tx: &mut Tx,
    tenants: &[TenantId],
    found: &mut HashMap<TenantId, Place>,
) -> Result<()> {
    const DOING: &str = "looking for tenants' databases";
    let ids = list(1, tenants.len());
    let sql = format!("SELECT tenant_id, shard, home FROM tenants WHERE tenant_id IN ({ids})");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for tenant in tenants {
        query = query.bind(tenant.to_string());
    }
    for row in query.fetch_all(&mut *tx.inner).await.doing(DOING)? {
        let id: String = row.try_get("tenant_id").doing(DOING)?;
        let row = Named::new("tenants", &id, &row);
        let database = |column| {
            let name: String = row.get(column)?;
            Ok((!name.is_empty()).then(|| Arc::from(name)))
        };
        let place = Place {
            data: database("shard")?,
            home: database("home")?,
        };
        found.insert(row.parse("tenant_id")?, place);
    }
    Ok(())
}
