//! A start without authentication: refused where it would open what belongs to somebody.

use laneway_store::Store;
use laneway_tenancy::OperatorScope;
use laneway_tenancy::control::RoleAuthority;

use super::Role;
use super::start::patiently;
use crate::config::Config;

/// Refuses listeners that other machines reach, and says aloud what is about to be opened.
pub fn check_listener(config: &Config, role: Role) -> anyhow::Result<()> {
    if let Some(exposed) = config.exposed(role) {
        anyhow::bail!(exposed);
    }
    if config.is_unguarded() && role != Role::Processor {
        tracing::warn!(
            address = %config.listener(role).address,
            "AUTHENTICATION IS OFF (auth.mode = none): whoever reaches this address may do everything"
        );
    }
    Ok(())
}

/// Refuses a store that tenants have data in, or had: it would be everybody's.
pub async fn check_store(store: &Store) -> anyhow::Result<()> {
    let operator = OperatorScope::of_role(&RoleAuthority::for_role("start"));
    let counting = || async { store.tenants(&operator).count_customers().await };
    let customers = patiently("counting the tenants", counting).await?;
    anyhow::ensure!(
        customers == 0,
        "auth.mode is none, but the store has tenants ({customers} of them, closed ones counted), whose data would be everybody's: set auth.mode = \"credentials\", or name another store (store.url) and log for a start without authentication"
    );
    Ok(())
}
