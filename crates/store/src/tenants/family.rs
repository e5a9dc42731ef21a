//! The tenants and namespaces directly below one, which are in its database. Every query names the
//! tenant above, so that what is below another is as if it were not there.

use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{TenantId, TenantScope};

use super::change::{self, Asked};
use super::{NewTenant, Tenant, TenantChange, create, row};
use crate::access::{Access, Tx};
use crate::error::Result;
use crate::{First, Host, Store};

pub struct Family<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Family<'_> {
    /// The tenant itself.
    pub async fn head(&self) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let found = row::by_id(&mut tx, self.scope.tenant()).await?;
        self.vetted(tx, found.as_slice()).await?;
        Ok(found)
    }

    /// Makes a change of the tenant itself.
    pub async fn change_head(
        &self,
        expected: Option<i64>,
        change: TenantChange,
        at: i64,
    ) -> Result<Tenant> {
        let asked = Asked {
            id: self.scope.tenant(),
            parent: None,
            expected,
            change,
            at,
        };
        change::change(self.store, asked).await
    }

    /// Below it.
    pub async fn create(&self, new: NewTenant, at: i64) -> Result<Tenant> {
        let created = self.create_with(new, First::default(), at).await?;
        Ok(created.0)
    }

    /// Below it, with what it has from the first moment.
    pub async fn create_with(
        &self,
        new: NewTenant,
        first: First<'_>,
        at: i64,
    ) -> Result<(Tenant, Vec<Host>)> {
        let above = Some(self.scope.tenant());
        create::create_with(self.store, new, above, first, at).await
    }

    /// By id or slug.
    pub async fn find(&self, name: &str) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Family(self.scope.tenant())).await?;
        let found = row::below(&mut tx, self.scope.tenant(), name).await?;
        self.vetted(tx, found.as_slice()).await?;
        Ok(found)
    }

    /// Those of a kind by id, after `after`.
    pub async fn list(
        &self,
        kind: TenantKind,
        after: Option<TenantId>,
        limit: u32,
    ) -> Result<Vec<Tenant>> {
        let mut tx = self.store.read(Access::Family(self.scope.tenant())).await?;
        let above = Some(self.scope.tenant());
        let found = row::list(&mut tx, above, Some(kind), after, limit).await?;
        self.vetted(tx, &found).await?;
        Ok(found)
    }

    /// Ends the transaction in which they were read.
    async fn vetted(&self, tx: Tx, found: &[Tenant]) -> Result<()> {
        let in_shard = tx.in_shard;
        tx.commit().await?;
        if in_shard {
            self.store.vet(found).await?;
        }
        Ok(())
    }

    /// Makes a change of one of them.
    pub async fn change(
        &self,
        id: TenantId,
        expected: Option<i64>,
        change: TenantChange,
        at: i64,
    ) -> Result<Tenant> {
        let asked = Asked {
            id,
            parent: Some(self.scope.tenant()),
            expected,
            change,
            at,
        };
        change::change(self.store, asked).await
    }
}
