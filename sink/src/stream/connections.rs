//! The open connections by tenant: bounded, and ended when the right to them is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use laneway_directory::DirectoryChange;
use laneway_runtime::Clock;
use laneway_schemas::ControlKind;
use laneway_tenancy::{Principal, TenantId, TenantScope};
use tokio_util::sync::CancellationToken;

use super::socket_use::SocketMeter;

struct Open {
    id: u64,
    key: Option<String>,
    /// The control version that it was authenticated against.
    version: i64,
    cancel: CancellationToken,
}

type Tenants = HashMap<TenantId, Vec<Open>>;

pub struct Connections {
    limit: usize,
    ids: AtomicU64,
    tenants: Arc<Mutex<Tenants>>,
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
    tenants: Arc<Mutex<Tenants>>,
    meter: Arc<Meter>,
    tenant: TenantId,
    id: u64,
    /// Cancelled when the connection has lost its right.
    pub revoked: CancellationToken,
}

impl Connections {
    pub fn new(limit: usize, clock: Arc<dyn Clock>) -> Self {
        Connections {
            limit,
            ids: AtomicU64::new(0),
            tenants: Arc::default(),
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

    /// `None` where the tenant has as many as it may.
    pub fn register(&self, scope: &TenantScope, version: i64) -> Option<Registered> {
        let mut tenants = lock(&self.tenants);
        let open = tenants.entry(scope.tenant()).or_default();
        if open.len() >= self.limit {
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
            version,
            cancel: cancel.clone(),
        });
        metrics::gauge!("laneway_stream_connections").increment(1);
        self.meter.change(scope.tenant(), 1);
        Some(Registered {
            tenants: Arc::clone(&self.tenants),
            meter: Arc::clone(&self.meter),
            tenant: scope.tenant(),
            id,
            revoked: cancel,
        })
    }

    /// Ends what a control change takes the right from. A tenant's change may move its lanes:
    /// its clients connect anew and are authorised anew. What a connection was authenticated
    /// against is no news to it, however late it arrives.
    pub fn apply(&self, change: &DirectoryChange) {
        let tenants = lock(&self.tenants);
        let Some(open) = tenants.get(&change.tenant) else {
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

    /// Ends all of them: control changes were missed.
    pub fn end_all(&self) {
        for connection in lock(&self.tenants).values().flatten() {
            connection.cancel.cancel();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        if let Some(open) = tenants.get_mut(&self.tenant) {
            open.retain(|c| c.id != self.id);
            if open.is_empty() {
                tenants.remove(&self.tenant);
            }
        }
        metrics::gauge!("laneway_stream_connections").decrement(1);
        self.meter.change(self.tenant, -1);
    }
}

fn lock(tenants: &Mutex<Tenants>) -> MutexGuard<'_, Tenants> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use laneway_runtime::SystemClock;
    use laneway_tenancy::control::RoleAuthority;

    use super::*;

    #[test]
    fn only_what_is_newer_than_its_authentication_ends_a_connection() {
        let tenant = TenantId::from_u128(7);
        let scope = RoleAuthority::for_role("test").scope(tenant);
        let connections = Connections::new(1, Arc::new(SystemClock));
        let open = connections.register(&scope, 3).unwrap();
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
