//! A tenant's part of the pool.
//!
//! Invariant: one tenant's transactions hold at most half of a pool's connections (one at the
//! least), whoever else waits. What is more waits here, first come first served, and takes no
//! place in the pool's own queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway_tenancy::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Result, StoreError};

/// Tenants that are looked through for idle ones, when there are so many.
const SWEEP_AT: usize = 1024;

pub(crate) struct Shares {
    /// Connections of one tenant.
    most: usize,
    patience: Duration,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// A connection that a tenant may have, until it is dropped.
pub(crate) type Share = OwnedSemaphorePermit;

impl Shares {
    pub(crate) fn new(max_connections: u32, patience: Duration) -> Self {
        Shares {
            most: (max_connections as usize / 2).max(1),
            patience,
            tenants: Mutex::default(),
        }
    }

    /// Waits for its turn; gives the turn up when it is cancelled.
    pub(crate) async fn take(&self, tenant: TenantId) -> Result<Share> {
        let unavailable = |reason: String| StoreError::Unavailable {
            doing: "waiting for a connection of the tenant's share",
            reason,
        };
        let turns = self.of(tenant);
        match tokio::time::timeout(self.patience, turns.acquire_owned()).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(closed)) => Err(unavailable(closed.to_string())),
            Err(_) => Err(unavailable(format!(
                "its {} connections were in use for {} ms",
                self.most,
                self.patience.as_millis()
            ))),
        }
    }

    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= SWEEP_AT && !tenants.contains_key(&tenant) {
            // Whoever holds a share or waits for one holds its semaphore.
            tenants.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let made = || Arc::new(Semaphore::new(self.most));
        tenants.entry(tenant).or_insert_with(made).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId::from_u128(n)
    }

    #[tokio::test]
    async fn a_tenant_has_half_and_others_are_not_kept_waiting() {
        let shares = Shares::new(4, Duration::from_millis(50));
        let first = shares.take(tenant(1)).await.unwrap();
        let _second = shares.take(tenant(1)).await.unwrap();
        assert!(shares.take(tenant(1)).await.is_err());
        assert!(shares.take(tenant(2)).await.is_ok());
        drop(first);
        assert!(shares.take(tenant(1)).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_leaves_no_trace() {
        let shares = Shares::new(2, Duration::from_secs(60));
        let held = shares.take(tenant(1)).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(5), shares.take(tenant(1)));
        assert!(waiting.await.is_err());
        drop(held);
        assert!(shares.take(tenant(1)).await.is_ok());
        for n in 0..10 * SWEEP_AT as u128 {
            drop(shares.take(tenant(n)).await.unwrap());
        }
        assert!(shares.tenants.lock().unwrap().len() <= SWEEP_AT);
    }
}
