//! Other slugs for a tenant and the namespaces below it.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::TenantKind;

use super::change::{Asked, ids_below, publish, write};
use super::{Tenant, row, slugs};
use crate::Store;
use crate::access::{Access, Tx};
use crate::error::{Result, StoreError};
use crate::homes::{Claim, claim_slugs, release_slugs};
use crate::outbox::next_version;

/// Slugs that were claimed in the main database for a family elsewhere.
pub(super) struct Claimed {
    claim: Claim,
    slugs: Vec<(TenantId, String)>,
}

impl Claimed {
    /// Whether a transaction may be committed that has renamed tenants.
    pub(super) fn check(&self, tx: &Tx) -> Result<()> {
        let is_claimed = |tenant| self.slugs.iter().any(|(claimed, _)| *claimed == tenant);
        if tx.touched.iter().all(|touched| is_claimed(touched.tenant)) {
            return self.claim.check();
        }
        Err(StoreError::Unavailable {
            doing: "renaming a tenant",
            reason: "a namespace was created below it meanwhile".to_owned(),
        })
    }

    pub(super) async fn release(&self, store: &Store) {
        if let Err(error) = release_slugs(store, &self.slugs).await {
            tracing::debug!(%error, "a slug that was not given is released later");
        }
    }
}

/// Claims what the tenant and its namespaces would be called; nothing where they are in the main
/// database, or there is nothing to claim.
pub(super) async fn claim(store: &Store, asked: &Asked, slug: &str) -> Result<Option<Claimed>> {
    let Asked { id, parent, at, .. } = *asked;
    let Some(home) = store.home_apart(id).await? else {
        return Ok(None);
    };
    let mut tx = home.read(Access::Platform).await?;
    let Some(tenant) = row::by_id(&mut tx, id).await? else {
        return Ok(None);
    };
    let is_below = parent.is_none() || tenant.body.parent == parent;
    let from = tenant.body.slug.as_str();
    if !is_below || from == slug {
        return Ok(None);
    }
    let mut wanted = vec![(id, slug.to_owned())];
    for below in ids_below(&mut tx, id).await? {
        if let Some(below) = row::by_id(&mut tx, below).await?
            && let Some(renamed) = renamed(&below, from, slug)
        {
            wanted.push((below.id, renamed));
        }
    }
    tx.commit().await?;
    let claim = claim_slugs(store, &wanted, at).await?;
    Ok(Some(Claimed {
        claim,
        slugs: wanted,
    }))
}

/// A namespace's slug begins with that of its tenant.
fn renamed(below: &Tenant, from: &str, to: &str) -> Option<String> {
    let rest = below.body.slug.strip_prefix(from);
    let rest = rest.filter(|_| below.body.kind == TenantKind::Namespace)?;
    Some(format!("{to}{rest}"))
}

pub(super) async fn namespaces(
    tx: &mut Tx,
    parent: TenantId,
    from: &str,
    to: &str,
    until: i64,
    at: i64,
) -> Result<()> {
    for id in ids_below(tx, parent).await? {
        let Some(mut below) = row::by_id(tx, id).await? else {
            continue;
        };
        let Some(slug) = renamed(&below, from, to) else {
            continue;
        };
        below.control_version = next_version(tx, id).await?;
        slugs::take(tx, &slug, id, at).await?;
        slugs::leave(tx, &below.body.slug, until).await?;
        below.body.slug = slug;
        write(tx, &mut below).await?;
        publish(tx, &below, at).await?;
    }
    Ok(())
}
