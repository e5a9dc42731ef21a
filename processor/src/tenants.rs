//! The tenants whose devices a partition has seen: what isolation and emission need of them,
//! refreshed when their control version moves.

use foldhash::{HashMap, HashMapExt};
use laneway_directory::Directory;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{TenantId, TenantScope};

pub struct Tenant {
    pub id: TenantId,
    /// Every record for the tenant is keyed through it.
    pub scope: TenantScope,
    /// The id as text.
    pub text: Box<str>,
    /// Partitions it may use, ascending; empty where it is not known.
    pub lanes: Vec<u32>,
    /// How far ahead of received_at a fix may be, µs; `i64::MAX` for any.
    pub ahead_us: i64,
    /// The control version that deleted it; `i64::MAX` while it exists.
    pub until: i64,
    /// Control version that the above is of; none yet at `None`.
    version: Option<i64>,
}

/// Whether a tenant is closed, or being closed: nothing more is said of it by itself, or kept.
pub fn is_closed(id: TenantId, directory: &Directory) -> bool {
    directory.tenant_ever(id).is_some_and(|tenant| {
        let state = tenant.body.state;
        tenant.deleted_at.is_some() || state.is_ending()
    })
}

#[derive(Default)]
pub struct Tenants {
    all: Vec<Tenant>,
    by_text: HashMap<Box<str>, u32>,
}

impl Tenants {
    pub fn new() -> Self {
        Tenants {
            all: Vec::new(),
            by_text: HashMap::new(),
        }
    }

    pub fn get(&self, place: u32) -> &Tenant {
        &self.all[place as usize]
    }

    pub fn find(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// The tenant, which may be `known` already, as of `version`, the directory's, also after its
    /// deletion; `None` where the directory has none.
    pub fn current(
        &mut self,
        known: Option<u32>,
        id: TenantId,
        text: &str,
        version: i64,
        directory: &Directory,
        authority: &RoleAuthority,
    ) -> Option<u32> {
        let place = match known {
            Some(place) => place,
            // Only tenants that exist get a place: a flood of invented ones takes no memory.
            None if directory.tenant_ever(id).is_some() => self.place(id, text, authority),
            None => return None,
        };
        let tenant = &mut self.all[place as usize];
        if tenant.version != Some(version) {
            if let Some(entry) = directory.tenant_ever(id) {
                tenant.until = entry.deleted_at.unwrap_or(i64::MAX);
                tenant.lanes.clone_from(&entry.body.placement.lanes);
                tenant.ahead_us = match entry.body.limits.ahead_seconds {
                    0 => i64::MAX,
                    seconds => i64::from(seconds) * 1_000_000,
                };
            }
            tenant.version = Some(version);
        }
        Some(place)
    }

    /// The place of a tenant, new where it is.
    pub fn place(&mut self, id: TenantId, text: &str, authority: &RoleAuthority) -> u32 {
        if let Some(place) = self.find(text) {
            return place;
        }
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Tenant {
            id,
            scope: authority.scope(id),
            text: text.into(),
            lanes: Vec::new(),
            ahead_us: i64::MAX,
            until: i64::MIN,
            version: None,
        });
        self.by_text.insert(text.into(), place);
        place
    }
}
