//! The open connections by tenant: bounded, and ended when the right to them is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use laneway_directory::DirectoryChange;
use laneway_runtime::Clock;
use laneway_schemas::ControlKind;
use laneway_tenancy::{Authenticated, Principal, TenantId};
use tokio_util::sync::CancellationToken;

use super::socket_use::SocketMeter;

struct Open {
    id: u64,
    key: Option<String>,
    /// The control version that it was authenticated against.
    version: i64,
    cancel: CancellationToken,
}

#[derive(Default)]
struct Table {
    tenants: HashMap<TenantId, Vec<Open>>,
    /// Connections whose credential ends by itself, by when it does.
    ends: BTreeMap<(i64, u64), CancellationToken>,
}

pub struct Connections {
    limit: usize,
    ids: AtomicU64,
    open: Arc<Mutex<Table>>,
    meter: Arc<Meter>,
}

/// What is told of the connections that are and were open.
struct Meter {
    clock: Arc<dyn Clock>,
    seen: Mutex<SocketMeter>,
}

impl Meter {
    fn change(&self, tenant: TenantId, change: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.change(tenant, change, self.clock.now_us());
    }
}

/// Keeps a connection counted.
pub struct Registered {
    open: Arc<Mutex<Table>>,
    meter: Arc<Meter>,
    tenant: TenantId,
    id: u64,
    ends_at: i64,
    /// Cancelled when the connection has lost its right.
    pub revoked: CancellationToken,
}

impl Connections {
    pub fn new(limit: usize, clock: Arc<dyn Clock>) -> Self {
        Connections {
            limit,
            ids: AtomicU64::new(0),
            open: Arc::default(),
            meter: Arc::new(Meter {
                clock,
                seen: Mutex::default(),
            }),
        }
    }

    /// What was seen of the connections.
    pub fn metered<T>(&self, look: impl FnOnce(&mut SocketMeter) -> T) -> T {
        let seen = &self.meter.seen;
        look(&mut seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `None` where the tenant has as many on this node as it may: as the settings say, or as
    /// its own limit does where that is less.
    pub fn register(&self, who: &Authenticated) -> Option<Registered> {
        let scope = &who.scope;
        let limit = match who.tenant.body.limits.sockets {
            0 => self.limit,
            own => self.limit.min(own as usize),
        };
        let mut table = lock(&self.open);
        let open = table.tenants.entry(scope.tenant()).or_default();
        if open.len() >= limit {
            return None;
        }
        let key = match scope.principal() {
            Principal::Key { id, .. } => Some(id.to_string()),
            _ => None,
        };
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let cancel = CancellationToken::new();
        open.push(Open {
            id,
            key,
            version: who.control_version,
            cancel: cancel.clone(),
        });
        if who.ends_at < i64::MAX {
            table.ends.insert((who.ends_at, id), cancel.clone());
        }
        metrics::gauge!("laneway_stream_connections").increment(1);
        self.meter.change(scope.tenant(), 1);
        Some(Registered {
            open: Arc::clone(&self.open),
            meter: Arc::clone(&self.meter),
            tenant: scope.tenant(),
            id,
            ends_at: who.ends_at,
            revoked: cancel,
        })
    }

    /// Ends what a control change takes the right from. A tenant's change may move its lanes:
    /// its clients connect anew and are authorised anew. What a connection was authenticated
    /// against is no news to it, however late it arrives.
    pub fn apply(&self, change: &DirectoryChange) {
        let table = lock(&self.open);
        let Some(open) = table.tenants.get(&change.tenant) else {
            return;
        };
        for connection in open.iter().filter(|c| c.version < change.version) {
            let ends = match change.kind {
                ControlKind::Tenant => true,
                ControlKind::Key => connection.key.as_deref() == Some(change.id.as_str()),
                ControlKind::Device
                | ControlKind::Credential
                | ControlKind::Destination
                | ControlKind::Host
                | ControlKind::Other => false,
            };
            if ends {
                connection.cancel.cancel();
            }
        }
    }

    /// Ends those whose credentials have ended by themselves at `now`.
    pub fn end_outlived(&self, now: i64) {
        let mut table = lock(&self.open);
        while let Some(first) = table.ends.first_entry().filter(|e| e.key().0 <= now) {
            first.remove().cancel();
        }
    }

    /// Ends all of them: control changes were missed.
    pub fn end_all(&self) {
        for connection in lock(&self.open).tenants.values().flatten() {
            connection.cancel.cancel();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut table = lock(&self.open);
        table.ends.remove(&(self.ends_at, self.id));
        if let Some(open) = table.tenants.get_mut(&self.tenant) {
            open.retain(|c| c.id != self.id);
            if open.is_empty() {
                table.tenants.remove(&self.tenant);
            }
        }
        drop(table);
        metrics::gauge!("laneway_stream_connections").decrement(1);
        self.meter.change(self.tenant, -1);
    }
}

fn lock(open: &Mutex<Table>) -> MutexGuard<'_, Table> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use laneway_runtime::SystemClock;
    use laneway_tenancy::control::{RoleAuthority, TenantBody};
    use laneway_tenancy::{Placement, TenantInfo};

    use super::*;

    fn who(tenant: TenantId, sockets: u32, ends_at: i64) -> Authenticated {
        let mut body = TenantBody::plain("acme", Placement::first(tenant, 1, 4));
        body.limits.sockets = sockets;
        Authenticated {
            scope: RoleAuthority::for_role("test").scope(tenant),
            tenant: Arc::new(TenantInfo {
                id: tenant,
                slug: "acme".to_owned(),
                body,
            }),
            control_version: 3,
            ends_at,
        }
    }

    #[test]
    fn a_tenant_has_no_more_connections_than_its_own_limit_or_the_settings_say() {
        let connections = Connections::new(3, Arc::new(SystemClock));
        for (tenant, sockets, most) in [(1, 2, 2), (2, 0, 3), (3, 9, 3)] {
            let who = who(TenantId::from_u128(tenant), sockets, i64::MAX);
            let mut open: Vec<_> = (0..5).filter_map(|_| connections.register(&who)).collect();
            assert_eq!(open.len(), most, "{sockets} of 3");
            open.pop();
            assert!(connections.register(&who).is_some(), "room again");
        }
    }

    #[test]
    fn a_connection_ends_with_its_credential() {
        let connections = Connections::new(9, Arc::new(SystemClock));
        let open = [10, 20, i64::MAX].map(|ends_at| {
            let who = who(TenantId::from_u128(7), 0, ends_at);
            connections.register(&who).unwrap()
        });
        for (now, ended) in [(9, 0), (10, 1), (30, 2)] {
            connections.end_outlived(now);
            let revoked = open.iter().filter(|open| open.revoked.is_cancelled());
            assert_eq!(revoked.count(), ended, "at {now}");
        }
        drop(open);
        assert!(lock(&connections.open).ends.is_empty());
    }

    #[test]
    fn only_what_is_newer_than_its_authentication_ends_a_connection() {
        let tenant = TenantId::from_u128(7);
        let connections = Connections::new(1, Arc::new(SystemClock));
        let open = connections.register(&who(tenant, 0, i64::MAX)).unwrap();
        let change = |version| DirectoryChange {
            tenant,
            version,
            kind: ControlKind::Tenant,
            id: tenant.to_string(),
            deleted: false,
            registers: false,
        };
        connections.apply(&change(3));
        assert!(!open.revoked.is_cancelled());
        connections.apply(&change(4));
        assert!(open.revoked.is_cancelled());
    }
}
