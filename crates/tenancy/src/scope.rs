//! The right to act for a tenant, as a value.

use std::sync::Arc;

use crate::{DeviceId, GrantId, KeyId, TenantId};

/// One thing that a key may do. `…:write` does not include `…:read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Grant {
    /// Subscribe to the tenant's stream.
    StreamRead,
    /// Read positions and sessions.
    PositionsRead,
    /// Send fixes for any device of the tenant.
    LocationWrite,
    DevicesRead,
    /// Register and change devices, their credentials and provisioning keys.
    DevicesWrite,
    DestinationsRead,
    /// Make and change destinations, and redrive their dead letters.
    DestinationsWrite,
    KeysRead,
    /// Make keys with at most the caller's own grants, rotate and revoke them.
    KeysWrite,
    /// Read the tenant's settings, configuration and hosts.
    TenantRead,
    /// Change them, and register schemas.
    TenantWrite,
    /// Read about the tenant's own tenants and namespaces.
    TenantsRead,
    /// Make and change them.
    TenantsWrite,
    PartnersRead,
    /// Give partners a part of the tenant's stream, and take it back.
    PartnersWrite,
    UsageRead,
    AuditRead,
    /// Close the tenant, rename it, and erase or export what is known of a person or a device.
    TenantOwn,
    /// Manage tenants. Only keys of the platform's own tenant carry it.
    Operator,
}

impl Grant {
    pub const ALL: [Grant; 19] = [
        Grant::StreamRead,
        Grant::PositionsRead,
        Grant::LocationWrite,
        Grant::DevicesRead,
        Grant::DevicesWrite,
        Grant::DestinationsRead,
        Grant::DestinationsWrite,
        Grant::KeysRead,
        Grant::KeysWrite,
        Grant::TenantRead,
        Grant::TenantWrite,
        Grant::TenantsRead,
        Grant::TenantsWrite,
        Grant::PartnersRead,
        Grant::PartnersWrite,
        Grant::UsageRead,
        Grant::AuditRead,
        Grant::TenantOwn,
        Grant::Operator,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Grant::StreamRead => "stream:read",
            Grant::PositionsRead => "positions:read",
            Grant::LocationWrite => "location:write",
            Grant::DevicesRead => "devices:read",
            Grant::DevicesWrite => "devices:write",
            Grant::DestinationsRead => "destinations:read",
            Grant::DestinationsWrite => "destinations:write",
            Grant::KeysRead => "keys:read",
            Grant::KeysWrite => "keys:write",
            Grant::TenantRead => "tenant:read",
            Grant::TenantWrite => "tenant:write",
            Grant::TenantsRead => "tenants:read",
            Grant::TenantsWrite => "tenants:write",
            Grant::PartnersRead => "partners:read",
            Grant::PartnersWrite => "partners:write",
            Grant::UsageRead => "usage:read",
            Grant::AuditRead => "audit:read",
            Grant::TenantOwn => "tenant:own",
            Grant::Operator => "operator",
        }
    }

    pub fn parse(name: &str) -> Option<Grant> {
        Grant::ALL.into_iter().find(|g| g.name() == name)
    }
}

/// A set of [`Grant`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants(u32);

impl Grants {
    pub const NONE: Grants = Grants(0);

    pub const fn of_all(grants: &[Grant]) -> Self {
        let (mut set, mut i) = (0, 0);
        while i < grants.len() {
            set |= 1 << grants[i] as u32;
            i += 1;
        }
        Grants(set)
    }

    pub fn of(grants: impl IntoIterator<Item = Grant>) -> Self {
        Grants(grants.into_iter().fold(0, |set, g| set | (1 << g as u32)))
    }

    pub fn has(self, grant: Grant) -> bool {
        self.0 & (1 << grant as u32) != 0
    }

    /// Whether all of `others` are among these.
    pub fn include(self, others: Grants) -> bool {
        self.0 & others.0 == others.0
    }

    pub const fn and(self, others: Grants) -> Grants {
        Grants(self.0 | others.0)
    }

    /// Those that are in both.
    pub const fn common(self, others: Grants) -> Grants {
        Grants(self.0 & others.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.into_iter().filter(move |g| self.has(*g))
    }

    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Grant::name).collect()
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
    /// A partner that reads what a grant gives it of the scope's tenant.
    Partner {
        /// Its own tenant.
        tenant: TenantId,
        key: KeyId,
        grant: GrantId,
    },
    /// Whoever asks, where authentication is off.
    Anyone,
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
    /// grant; roles, operators, and anyone where authentication is off may all.
    pub fn may(&self, grant: Grant) -> bool {
        match &self.0.principal {
            Principal::Device(_) => false,
            Principal::Key { grants, .. } => grants.has(grant),
            Principal::Partner { .. } => grant == Grant::StreamRead,
            Principal::Operator | Principal::Anyone => true,
            Principal::Role(_) => grant != Grant::Operator,
        }
    }

    /// All that the principal may do.
    pub fn grants(&self) -> Grants {
        Grants::of(Grant::ALL.into_iter().filter(|grant| self.may(*grant)))
    }

    /// Appends the key of a device's records: `tenant id/device id`.
    pub fn record_key(&self, device: &str, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a Vec does not fail.
        let _ = write!(out, "{}/{device}", self.0.tenant);
    }
}
