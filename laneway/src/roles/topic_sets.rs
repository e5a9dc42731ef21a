//! Topic sets at start: where the records of a tenant are is never guessed.

use laneway_log::TopicSets;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;

/// Refuses to go on where the set of a tenant is not configured, or has changed its place.
pub async fn check(sets: &TopicSets, store: &Store) -> anyhow::Result<()> {
    for tenant in store.dedicated(&RoleAuthority::for_role("start")).await? {
        let (name, slug, number) = (tenant.set, tenant.slug, tenant.placement.set());
        anyhow::ensure!(
            sets.number(&name) == Some(number),
            "log.topic_sets has to have {name} at place {number}: the records of the tenant {slug} are in its topics"
        );
    }
    Ok(())
}
