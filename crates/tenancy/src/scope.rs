//! The right to act for a tenant, as a value.

use std::sync::Arc;

use crate::{DeviceId, KeyId, TenantId};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Grant {
    /// Subscribe to the tenant's stream: `stream:read`.
    StreamRead,
    /// Read positions and sessions: `positions:read`.
    PositionsRead,
    /// Send fixes for any device of the tenant: `location:write`.
    LocationWrite,
    /// Manage devices, credentials, keys and destinations: `tenant:admin`.
    TenantAdmin,
    /// Manage tenants: `operator`. Only keys of the platform's own tenant carry it.
    Operator,
}

impl Grant {
    pub const ALL: [Grant; 5] = [
        Grant::StreamRead,
        Grant::PositionsRead,
        Grant::LocationWrite,
        Grant::TenantAdmin,
        Grant::Operator,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Grant::StreamRead => "stream:read",
            Grant::PositionsRead => "positions:read",
            Grant::LocationWrite => "location:write",
            Grant::TenantAdmin => "tenant:admin",
            Grant::Operator => "operator",
        }
    }

    pub fn parse(name: &str) -> Option<Grant> {
        Grant::ALL.into_iter().find(|g| g.name() == name)
    }
}

/// A set of [`Grant`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants(u8);

impl Grants {
    pub fn of(grants: impl IntoIterator<Item = Grant>) -> Self {
        Grants(grants.into_iter().fold(0, |set, g| set | (1 << g as u8)))
    }

    pub fn has(self, grant: Grant) -> bool {
        self.0 & (1 << grant as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.into_iter().filter(move |g| self.has(*g))
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    Device(DeviceId),
    Key {
        id: KeyId,
        grants: Grants,
    },
    /// The operator on this machine (the local socket) or with an operator's key.
    Operator,
    /// A role at its own work, under the scope of the tenant whose record it handles.
    Role(&'static str),
}

/// The right to act for one tenant. Everything that touches a tenant's data starts from one:
/// queries, records, cache keys, subscriptions. Only this crate makes them, after it has
/// verified a credential or matched a record against the tenant's placement.
#[derive(Debug, Clone)]
pub struct TenantScope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: TenantId,
    principal: Principal,
}

impl TenantScope {
    pub(crate) fn new(tenant: TenantId, principal: Principal) -> Self {
        TenantScope(Arc::new(Inner { tenant, principal }))
    }

    pub fn tenant(&self) -> TenantId {
        self.0.tenant
    }

    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Whether the principal may do this. Devices may only send for themselves, which is not a
    /// grant; roles and operators may all.
    pub fn may(&self, grant: Grant) -> bool {
        match &self.0.principal {
            Principal::Device(_) => false,
            Principal::Key { grants, .. } => grants.has(grant),
            Principal::Operator => true,
            Principal::Role(_) => grant != Grant::Operator,
        }
    }

    /// Appends the key of a device's records: `tenant id/device id`.
    pub fn record_key(&self, device: &str, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a Vec does not fail.
        let _ = write!(out, "{}/{device}", self.0.tenant);
    }
}
