//! What tenants grant to partners.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;
use laneway_schemas::TenantEvent;
use laneway_tenancy::control::GrantBody;
use laneway_tenancy::{GrantId, TenantId};

/// A grant, as of its last change that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantEntry {
    /// Whose stream it is.
    pub tenant: TenantId,
    pub id: GrantId,
    pub body: GrantBody,
}

/// All that are not revoked, by id: a partner names a grant, not its tenant.
#[derive(Default)]
pub(crate) struct GrantTable(RwLock<HashMap<GrantId, Arc<GrantEntry>>>);

impl GrantTable {
    pub(crate) fn find(&self, id: GrantId) -> Option<Arc<GrantEntry>> {
        let grants = self.0.read().unwrap_or_else(PoisonError::into_inner);
        grants.get(&id).cloned()
    }

    /// The id of another tenant's grant changes nothing of it.
    pub(crate) fn apply(&self, tenant: TenantId, event: &TenantEvent) -> Result<(), String> {
        let id: GrantId = event.id.parse().map_err(|e| format!("grant: {e}"))?;
        let entry = if event.deleted {
            None
        } else {
            let body = serde_json::from_str(&event.body)
                .map_err(|e| format!("grant {id} of {tenant}: {e}"))?;
            Some(Arc::new(GrantEntry { tenant, id, body }))
        };
        let mut grants = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if grants.get(&id).is_some_and(|known| known.tenant != tenant) {
            return Err(format!("grant {id} of {tenant}: it is another tenant's"));
        }
        match entry {
            Some(entry) => grants.insert(id, entry),
            None => grants.remove(&id),
        };
        Ok(())
    }

    pub(crate) fn remove_all(&self, tenant: TenantId) {
        let mut grants = self.0.write().unwrap_or_else(PoisonError::into_inner);
        grants.retain(|_, grant| grant.tenant != tenant);
    }
}
