//! Which databases tenants are known to have, so that it is not asked for at every query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, list};
use crate::codec::Named;
use crate::error::{Doing, Result};

/// Tenants that are remembered; with more, it begins anew.
const MOST: usize = 100_000;

/// A tenant's database, as it is remembered: none for the main one.
type Shard = Option<Arc<str>>;

/// What was found once holds: a tenant's database does not change.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<TenantId, Shard>>);

impl Known {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Shard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown(&self, tenants: &[TenantId]) -> Vec<TenantId> {
        let known = self.lock();
        let unknown = tenants.iter().filter(|tenant| !known.contains_key(tenant));
        unknown.copied().collect()
    }

    fn remember(&self, found: &HashMap<TenantId, Shard>) {
        let mut known = self.lock();
        if known.len() + found.len() > MOST {
            known.clear();
        }
        known.extend(found.iter().map(|(tenant, shard)| (*tenant, shard.clone())));
    }

    /// As remembered, else as just found. A tenant without a row has no data of its own: what is
    /// written in its name is in the main database, and nobody reads it.
    fn shard(&self, tenant: &TenantId, found: &HashMap<TenantId, Shard>) -> Shard {
        let known = self.lock().get(tenant).cloned();
        known.or_else(|| found.get(tenant).cloned()).flatten()
    }
}

impl Store {
    /// The names of the tenants' shards, in their order.
    pub(crate) async fn shards_of(&self, tenants: &[TenantId]) -> Result<Vec<Shard>> {
        let known = &self.0.shards.known;
        let unknown = known.unknown(tenants);
        let mut found = HashMap::new();
        if !unknown.is_empty() {
            let mut tx = self.read(Access::Platform).await?;
            for chunk in chunks(&unknown) {
                look_up(&mut tx, chunk, &mut found).await?;
            }
            tx.commit().await?;
            known.remember(&found);
        }
        let shards = tenants.iter().map(|tenant| known.shard(tenant, &found));
        Ok(shards.collect())
    }
}

async fn look_up(
    tx: &mut Tx,
    tenants: &[TenantId],
    found: &mut HashMap<TenantId, Shard>,
) -> Result<()> {
    const DOING: &str = "looking for tenants' databases";
    let ids = list(1, tenants.len());
    let sql = format!("SELECT tenant_id, shard FROM tenants WHERE tenant_id IN ({ids})");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for tenant in tenants {
        query = query.bind(tenant.to_string());
    }
    for row in query.fetch_all(&mut *tx.inner).await.doing(DOING)? {
        let id: String = row.try_get("tenant_id").doing(DOING)?;
        let row = Named::new("tenants", &id, &row);
        let shard: String = row.get("shard")?;
        let shard = (!shard.is_empty()).then(|| Arc::from(shard));
        found.insert(row.parse("tenant_id")?, shard);
    }
    Ok(())
}
