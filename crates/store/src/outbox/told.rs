//! What was told of tenants before. A database that was put back from a backup counts changes from
//! where it was then, and numbers that readers have had are passed over.

use std::sync::OnceLock;

use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;

use crate::Store;
use crate::error::{Result, StoreError};

/// The number up to which a tenant's changes were told; none while that is not known.
type UpTo = Box<dyn Fn(TenantId) -> Option<i64> + Send + Sync>;

/// Where it is asked, in a process that makes changes.
#[derive(Default)]
pub(crate) struct Told(OnceLock<UpTo>);

impl Told {
    /// Below what no change may be numbered.
    pub(super) fn up_to(&self, tenant: TenantId) -> Result<i64> {
        let Some(up_to) = self.0.get() else {
            return Ok(0);
        };
        up_to(tenant).ok_or_else(|| StoreError::Unavailable {
            doing: "numbering a control change",
            reason: "it is not known yet what was told before".to_owned(),
        })
    }
}

impl Store {
    /// Numbers changes from now on after those that were told before, whatever the database says:
    /// `up_to` is asked for the last number that was told of a tenant. Said once.
    pub fn number_after(
        &self,
        _authority: &RoleAuthority,
        up_to: impl Fn(TenantId) -> Option<i64> + Send + Sync + 'static,
    ) {
        let _ = self.0.shards.told.0.set(Box::new(up_to));
    }
}
