//! What tenants use, by day (days since 1970-01-01, UTC): counted from the topics
//! ([`UsageBatch`]), from open connections ([`SocketUse`]) and, for quotas, by the ingest nodes
//! ([`Quotas`]).

mod days;
mod metering;
mod quotas;
mod sockets;
mod warnings;

pub use days::{TenantUsage, Usage, UsageDay, Usages};
pub use metering::{DeliveredTotal, DeviceDay, UsageBatch, UsageCount};
pub use quotas::{Admitted, Quotas, Said};
pub use sockets::SocketUse;
pub use warnings::{QuotaWarningRow, Warned, Warnings};

use std::collections::BTreeSet;

use laneway_tenancy::TenantId;

/// The tenants that a transaction of metering may write, as the database is told them.
fn tenant_list(tenants: impl Iterator<Item = TenantId>) -> String {
    let tenants: BTreeSet<TenantId> = tenants.collect();
    let tenants: Vec<String> = tenants.iter().map(TenantId::to_string).collect();
    tenants.join(",")
}
