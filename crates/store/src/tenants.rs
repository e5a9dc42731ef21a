//! Tenants, and the families that they form: tenants below tenants, and namespaces.

mod change;
mod create;
mod family;
mod renaming;
mod row;
mod slugs;
mod topic_sets;

pub use create::First;

use laneway_tenancy::control::{Limits, TenantBody, TenantKind, TenantState};
use laneway_tenancy::options::Options;
use laneway_tenancy::{OperatorScope, Placement, TenantId, TenantInfo};
use sqlx::Row;

use crate::access::Access;
use crate::codec::variant_name;
use crate::error::{Doing, Result};
use crate::{Host, Store};

use change::Asked;
pub use change::TenantChange;
pub(crate) use change::divide_anew;
pub use family::Family;
pub(crate) use row::{by_id, by_ids, by_slug};
pub(crate) use slugs::{called, take as take_slug};
pub use topic_sets::Dedicated;

#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub id: TenantId,
    /// As every role hears of it: with the limits that are left for itself, and held where a
    /// tenant above it is.
    pub body: TenantBody,
    /// What people call it.
    pub name: String,
    pub plan: String,
    /// Its own state, whatever those above it are.
    pub own_state: TenantState,
    /// Whether a tenant above it is not active.
    pub(crate) held: bool,
    /// All that it was given, what it gave away included.
    pub total_limits: Limits,
    /// Counts the changes of the tenant itself.
    pub version: i64,
    /// Counts the changes of all that belongs to it.
    pub control_version: i64,
    pub created_at: i64,
    /// The database of what the stream writes of it; none where that is the main one.
    pub shard: Option<String>,
    /// The database of its other tables; none where that is the main one.
    pub(crate) home: Option<String>,
    /// The topic set that it has to itself, with those below it; none where it shares topics.
    pub topic_set: Option<String>,
}

impl Tenant {
    pub fn into_info(self) -> TenantInfo {
        TenantInfo {
            id: self.id,
            slug: self.body.slug.clone(),
            body: self.body,
        }
    }
}

#[derive(Debug, Clone)]
pub struct NewTenant {
    pub id: TenantId,
    /// Checked by the caller ([`laneway_tenancy::slug`]).
    pub slug: String,
    pub kind: TenantKind,
    pub name: String,
    pub plan: String,
    pub placement: Placement,
    pub limits: Limits,
    pub options: Options,
    /// The name of the database that was chosen for it; else it is chosen here.
    pub database: Option<String>,
    /// The topic set of its placement where that is not the shared one. What is below another
    /// tenant is in the set of that one.
    pub topic_set: Option<String>,
}

impl NewTenant {
    /// A customer without limits or options.
    pub fn plain(id: TenantId, slug: impl Into<String>, placement: Placement) -> Self {
        NewTenant {
            id,
            slug: slug.into(),
            kind: TenantKind::Tenant,
            name: String::new(),
            plan: String::new(),
            placement,
            limits: Limits::default(),
            options: Options::default(),
            database: None,
            topic_set: None,
        }
    }
}

/// All tenants, for the operator.
pub struct Tenants<'a> {
    store: &'a Store,
}

impl<'a> Tenants<'a> {
    pub(crate) fn new(store: &'a Store, _operator: &'a OperatorScope) -> Self {
        Tenants { store }
    }

    pub async fn create(&self, new: NewTenant, at: i64) -> Result<Tenant> {
        let created = self.create_with(new, First::default(), at).await?;
        Ok(created.0)
    }

    /// With what it has from the first moment.
    pub async fn create_with(
        &self,
        new: NewTenant,
        first: First<'_>,
        at: i64,
    ) -> Result<(Tenant, Vec<Host>)> {
        create::create_with(self.store, new, None, first, at).await
    }

    pub async fn find(&self, id: TenantId) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = by_id(&mut tx, id).await?;
        tx.commit().await?;
        self.as_it_is(found).await
    }

    pub async fn by_slug(&self, slug: &str) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = by_slug(&mut tx, slug).await?;
        tx.commit().await?;
        self.as_it_is(found).await
    }

    /// The tenant that had this slug before it was renamed, while that still leads to it.
    pub async fn by_former_slug(&self, slug: &str, now: i64) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = match slugs::former(&mut tx, slug, now).await? {
            Some(id) => by_id(&mut tx, id).await?,
            None => None,
        };
        tx.commit().await?;
        self.as_it_is(found).await
    }

    /// Of a tenant elsewhere, its own row in the place of the copy. A closed one stays as it is,
    /// and its database may be gone.
    async fn as_it_is(&self, found: Option<Tenant>) -> Result<Option<Tenant>> {
        let elsewhere =
            |tenant: &Tenant| tenant.home.is_some() && tenant.own_state != TenantState::Closed;
        let Some(copy) = found.as_ref().filter(|tenant| elsewhere(tenant)) else {
            return Ok(found);
        };
        let mut tx = self.store.read(Access::Family(copy.id)).await?;
        let own = by_id(&mut tx, copy.id).await?;
        tx.commit().await?;
        self.store.vet(own.as_slice()).await?;
        Ok(own)
    }

    /// Tenants by id, after `after`.
    pub async fn list(&self, after: Option<TenantId>, limit: u32) -> Result<Vec<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = row::list(&mut tx, None, None, after, limit).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Those of a kind by id, after `after`.
    pub async fn of_kind(
        &self,
        kind: TenantKind,
        after: Option<TenantId>,
        limit: u32,
    ) -> Result<Vec<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = row::list(&mut tx, None, Some(kind), after, limit).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// How many customers and partners there are or were, with what is below them: all but the
    /// platform's own.
    pub async fn count_customers(&self) -> Result<u64> {
        let doing = "counting tenants";
        let mut tx = self.store.read(Access::Platform).await?;
        let own = [
            TenantKind::Platform,
            TenantKind::Default,
            TenantKind::Runtime,
        ];
        let mut query = sqlx::query("SELECT COUNT(*) FROM tenants WHERE kind NOT IN ($1, $2, $3)");
        for kind in own {
            query = query.bind(variant_name(&kind)?);
        }
        let row = query.fetch_one(&mut *tx.inner).await.doing(doing)?;
        let count: i64 = row.try_get(0).doing(doing)?;
        tx.commit().await?;
        Ok(count.unsigned_abs())
    }

    /// Makes a change; [`crate::StoreError::Changed`] where the tenant is not at
    /// `expected` any more.
    pub async fn change(
        &self,
        id: TenantId,
        expected: Option<i64>,
        change: TenantChange,
        at: i64,
    ) -> Result<Tenant> {
        let asked = Asked {
            id,
            parent: None,
            expected,
            change,
            at,
        };
        change::change(self.store, asked).await
    }

    pub async fn set_state(&self, id: TenantId, state: TenantState, at: i64) -> Result<Tenant> {
        self.change(id, None, TenantChange::State(state), at).await
    }

    pub async fn set_limits(&self, id: TenantId, limits: Limits, at: i64) -> Result<Tenant> {
        self.change(id, None, TenantChange::Limits(limits), at)
            .await
    }
}
