//! The audit trail: who did what to what, from where, with what outcome. A chain of entries for
//! each tenant, which can be appended to and nothing else (`docs/audit.md`).
//!
//! Invariant: a control change and its entry are one transaction ([`chain::record_changes`]).
//! Refusals, and what is done outside of the store, come through [`Denials`] and
//! [`Audit::append`].

pub(crate) mod chain;
mod denials;
mod entry;
pub(crate) mod origin;
mod read;
mod verify;

use laneway_tenancy::{OperatorScope, TenantId, TenantScope};

pub use denials::{Denial, Denials};
pub use entry::{AuditEntry, Commitments, Facts, NO_HASH, Opened, Salted};
pub use origin::{Origin, Personal, Who, acting, current, principal_name};
pub(crate) use read::erase;
pub use read::{AuditHead, AuditQuery};
pub use verify::{Broken, Verified, Verifier};

use crate::Store;
use crate::access::Access;
use crate::error::Result;

/// The audit trail of one tenant.
pub struct Audit<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Audit<'_> {
    /// Entries by number, oldest first.
    pub async fn list(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.read(Access::Tenant(tenant)).await?;
        let found = read::select(&mut tx, tenant, query).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Appends what is no change of the store.
    pub async fn append(&self, facts: Facts, personal: &Personal) -> Result<AuditEntry> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let entry = chain::append(&mut tx, tenant, facts, personal).await?;
        tx.commit().await?;
        Ok(entry)
    }

    /// Erases addresses, user agents and names of a principal from this tenant's trail. The chain
    /// holds commitments to them and still verifies. Answers how many values there were.
    pub async fn erase_personal(&self, principal: &str) -> Result<u64> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let erased = read::erase(&mut tx, tenant, principal).await?;
        tx.commit().await?;
        Ok(erased)
    }
}

/// What the operator sees of all trails.
pub struct AuditHeads<'a> {
    store: &'a Store,
}

impl<'a> AuditHeads<'a> {
    pub(crate) fn new(store: &'a Store, _operator: &'a OperatorScope) -> Self {
        AuditHeads { store }
    }

    /// Chains by their tenant, after `after`, whichever database they are in; none of them where
    /// one is away.
    pub async fn list(&self, after: Option<TenantId>, limit: u32) -> Result<Vec<AuditHead>> {
        let mut all = Vec::new();
        for store in self.store.databases()? {
            let mut tx = store.read(Access::Platform).await?;
            all.extend(read::heads(&mut tx, after, limit).await?);
            tx.commit().await?;
        }
        all.sort_unstable_by_key(|head| head.tenant);
        all.truncate(limit as usize);
        Ok(all)
    }
}

impl Store {
    /// Refusals of one chain.
    async fn append_denials(&self, chain: TenantId, denials: &[Denial]) -> Result<()> {
        let mut tx = self.write(Access::Tenant(chain)).await?;
        for denial in denials {
            let facts = denial.facts.clone();
            chain::append(&mut tx, chain, facts, &denial.personal).await?;
        }
        tx.commit().await
    }
}
