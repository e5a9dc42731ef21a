//! The ways to the databases: to a tenant's own, and to all of them.

use futures_util::future::join_all;
use laneway_tenancy::TenantId;

use super::Shard;
use crate::Store;
use crate::error::Result;

impl Store {
    pub(crate) fn is_shard(&self) -> bool {
        !self.0.shards.of_main
    }

    /// Where what the stream writes of the tenant is kept.
    pub(crate) async fn data(&self, tenant: TenantId) -> Result<&Store> {
        let place = self.place(tenant).await?;
        if place.data == place.home {
            return self.home(tenant).await;
        }
        self.in_place(place.data.as_deref())
    }

    /// The same where the tenant's other tables are not there.
    pub(crate) async fn data_apart(&self, tenant: TenantId) -> Result<Option<&Store>> {
        let place = self.place(tenant).await?;
        if place.data == place.home {
            return Ok(None);
        }
        self.in_place(place.data.as_deref()).map(Some)
    }

    /// Where the tenant's own tables are.
    pub(crate) async fn home(&self, tenant: TenantId) -> Result<&Store> {
        if self.is_shard() {
            return Ok(self);
        }
        let Some(name) = self.place(tenant).await?.home else {
            return Ok(self);
        };
        let home = self.0.shards.get(&name)?;
        self.see_at(home, &name, tenant).await?;
        Ok(home)
    }

    /// The same where that is not here.
    pub(crate) async fn home_apart(&self, tenant: TenantId) -> Result<Option<&Store>> {
        let home = self.home(tenant).await?;
        Ok((home.is_shard() && !self.is_shard()).then_some(home))
    }

    /// The database of a name; the main one where there is none.
    pub(crate) fn in_place(&self, name: Option<&str>) -> Result<&Store> {
        match name {
            Some(name) => self.0.shards.get(name),
            None => Ok(self),
        }
    }

    /// Every database, the main one first; an error where one is away.
    pub(crate) fn databases(&self) -> Result<Vec<&Store>> {
        let shards = self.0.shards.each().map(Shard::store);
        std::iter::once(Ok(self)).chain(shards).collect()
    }

    /// What every database answers, the main one first, and each of the others beside it; without
    /// what is away. What is of tenants that are not there is left out.
    pub(crate) async fn of_each<T, F>(
        &self,
        tenant: impl Fn(&T) -> TenantId,
        ask: impl Fn(Store) -> F,
    ) -> Result<Vec<T>>
    where
        F: Future<Output = Result<Vec<T>>>,
    {
        let (mut names, mut asked) = (vec![None], vec![ask(self.clone())]);
        for shard in self.0.shards.each() {
            if let Ok(store) = shard.store() {
                names.push(Some(shard.name()));
                asked.push(ask(store.clone()));
            }
        }
        let mut there = Vec::new();
        for (name, answer) in names.into_iter().zip(join_all(asked).await) {
            match answer {
                Err(away) if name.is_some() && away.is_transient() => {}
                answer => there.extend(answer?.into_iter().map(|one| (name, one))),
            }
        }
        self.of_their_own(there, tenant).await
    }
}
