//! Roles: the sets of grants that people and keys usually get.

use crate::scope::{Grant, Grants};

/// Each includes what the ones before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything of the tenant but its audit trail.
    Viewer,
    /// Works with devices and destinations, and sends.
    Developer,
    /// Manages keys, settings, hosts, partners, and tenants and namespaces below; reads the audit trail.
    Admin,
    /// May close and rename the tenant, and export and erase personal data.
    Owner,
}

const VIEWER: Grants = Grants::of_all(&[
    Grant::StreamRead,
    Grant::PositionsRead,
    Grant::DevicesRead,
    Grant::DestinationsRead,
    Grant::KeysRead,
    Grant::TenantRead,
    Grant::TenantsRead,
    Grant::PartnersRead,
    Grant::UsageRead,
]);
const DEVELOPER: Grants = VIEWER.and(Grants::of_all(&[
    Grant::LocationWrite,
    Grant::DevicesWrite,
    Grant::DestinationsWrite,
]));
const ADMIN: Grants = DEVELOPER.and(Grants::of_all(&[
    Grant::KeysWrite,
    Grant::TenantWrite,
    Grant::TenantsWrite,
    Grant::PartnersWrite,
    Grant::AuditRead,
]));
const OWNER: Grants = ADMIN.and(Grants::of_all(&[Grant::TenantOwn]));

impl Role {
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Developer, Role::Admin, Role::Owner];

    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Developer => "developer",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    pub const fn grants(self) -> Grants {
        match self {
            Role::Viewer => VIEWER,
            Role::Developer => DEVELOPER,
            Role::Admin => ADMIN,
            Role::Owner => OWNER,
        }
    }
}

/// What keys of tenants may at most in the namespace that all share.
pub(crate) const SHARED: Grants = Grants::of_all(&[
    Grant::StreamRead,
    Grant::PositionsRead,
    Grant::LocationWrite,
    Grant::DevicesRead,
    Grant::DevicesWrite,
]);

/// What keys of a partner may at most: look after itself, and open what is granted to it.
pub(crate) const PARTNER: Grants = Grants::of_all(&[
    Grant::StreamRead,
    Grant::KeysRead,
    Grant::KeysWrite,
    Grant::TenantRead,
    Grant::TenantWrite,
    Grant::PartnersRead,
    Grant::UsageRead,
    Grant::AuditRead,
    Grant::TenantOwn,
]);

/// What an admin may, but for the tenant's data: a key for tools that only set things up.
const MANAGEMENT: &str = "tenant:admin";

impl Grants {
    /// A grant by its name, or `tenant:admin` for all of an admin's but `stream:read`,
    /// `positions:read` and `location:write`.
    pub fn parse(name: &str) -> Option<Grants> {
        let data = [
            Grant::StreamRead,
            Grant::PositionsRead,
            Grant::LocationWrite,
        ];
        if name == MANAGEMENT {
            return Some(Grants::of(
                ADMIN.iter().filter(|grant| !data.contains(grant)),
            ));
        }
        Grant::parse(name).map(|grant| Grants::of([grant]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_includes_the_one_before_and_none_is_the_operator() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[1].grants().include(pair[0].grants()));
            assert!(!pair[0].grants().include(pair[1].grants()));
        }
        assert!(!Role::Owner.grants().has(Grant::Operator));
    }

    #[test]
    fn a_key_for_management_neither_reads_nor_sends() {
        let management = Grants::parse(MANAGEMENT).unwrap();
        assert!(management.has(Grant::DevicesWrite) && management.has(Grant::KeysWrite));
        assert!(!management.has(Grant::StreamRead) && !management.has(Grant::LocationWrite));
        assert!(!management.has(Grant::TenantOwn));
    }

    #[test]
    fn every_grant_has_a_name_of_its_own() {
        for grant in Grant::ALL {
            assert_eq!(Grant::parse(grant.name()), Some(grant));
        }
        assert_eq!(Grants::of(Grant::ALL).iter().count(), Grant::ALL.len());
    }
}
