//! The open connections by tenant: bounded, and ended when the right to them is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use foldhash::HashMap;
use laneway_directory::DirectoryChange;
use laneway_runtime::Clock;
use laneway_schemas::ControlKind;
use laneway_tenancy::{Authenticated, Principal, TenantId};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::socket_use::SocketMeter;

/// How long it is slept at most until an end: clocks are put right.
const NAP_US: i64 = 60_000_000;

/// A connection, as one tenant has to do with it: the one that its key is of, or the one whose
/// stream it is, where that is another.
struct Open {
    id: u64,
    /// The key or the grant of this tenant that it takes.
    by: Option<(ControlKind, String)>,
    /// The control version of this tenant that it was authenticated against.
    version: i64,
    cancel: CancellationToken,
}

#[derive(Default)]
struct OfTenant {
    open: Vec<Open>,
    /// Those of its own keys.
    own: usize,
}

type Tenants = HashMap<TenantId, OfTenant>;

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
    /// Whose key it is.
    home: TenantId,
    /// Whose stream it is.
    tenant: TenantId,
    id: u64,
    ends: Option<AbortHandle>,
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

    /// Counts it to the tenant whose key it is; `None` where that has as many as it may. It ends
    /// at `ends_at`, and with the right of its key at home or of what it takes elsewhere.
    pub fn register(&self, who: &Authenticated, ends_at: Option<i64>) -> Option<Registered> {
        let (home, tenant) = (who.home(), who.scope.tenant());
        let mut tenants = lock(&self.tenants);
        let at_home = tenants.entry(home.tenant).or_default();
        if at_home.own >= self.limit {
            return None;
        }
        let (key, grant) = match who.scope.principal() {
            Principal::Key { id, .. } => (Some(id), None),
            Principal::Partner { key, grant, .. } => (Some(key), Some(grant)),
            _ => (None, None),
        };
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let cancel = CancellationToken::new();
        at_home.own += 1;
        at_home.open.push(Open {
            id,
            by: key.map(|key| (ControlKind::Key, key.to_string())),
            version: home.control_version,
            cancel: cancel.clone(),
        });
        if tenant != home.tenant {
            tenants.entry(tenant).or_default().open.push(Open {
                id,
                by: grant.map(|grant| (ControlKind::Grant, grant.to_string())),
                version: who.control_version,
                cancel: cancel.clone(),
            });
        }
        drop(tenants);
        metrics::gauge!("laneway_stream_connections").increment(1);
        self.meter.change(home.tenant, 1);
        Some(Registered {
            tenants: Arc::clone(&self.tenants),
            meter: Arc::clone(&self.meter),
            home: home.tenant,
            tenant,
            id,
            ends: ends_at.map(|at| self.end_at(at, cancel.clone())),
            revoked: cancel,
        })
    }

    fn end_at(&self, at: i64, cancel: CancellationToken) -> AbortHandle {
        let clock = Arc::clone(&self.meter.clock);
        let wait = async move {
            loop {
                let left = at.saturating_sub(clock.now_us()).min(NAP_US);
                if left <= 0 {
                    return cancel.cancel();
                }
                tokio::time::sleep(Duration::from_micros(left.unsigned_abs())).await;
            }
        };
        tokio::spawn(wait).abort_handle()
    }

    /// Ends what a control change takes the right from. A tenant's change may move its lanes:
    /// its clients connect anew and are authorised anew. What a connection was authenticated
    /// against is no news to it, however late it arrives.
    pub fn apply(&self, change: &DirectoryChange) {
        let tenants = lock(&self.tenants);
        let Some(of_tenant) = tenants.get(&change.tenant) else {
            return;
        };
        for connection in of_tenant.open.iter().filter(|c| c.version < change.version) {
            let ends = match change.kind {
                ControlKind::Tenant => true,
                kind @ (ControlKind::Key | ControlKind::Grant) => connection
                    .by
                    .as_ref()
                    .is_some_and(|(by, id)| *by == kind && *id == change.id),
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
        let tenants = lock(&self.tenants);
        for connection in tenants.values().flat_map(|of_tenant| &of_tenant.open) {
            connection.cancel.cancel();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        for tenant in [self.home, self.tenant] {
            let Some(of_tenant) = tenants.get_mut(&tenant) else {
                continue;
            };
            let before = of_tenant.open.len();
            of_tenant.open.retain(|c| c.id != self.id);
            if tenant == self.home && of_tenant.open.len() < before {
                of_tenant.own -= 1;
            }
            if of_tenant.open.is_empty() {
                tenants.remove(&tenant);
            }
        }
        drop(tenants);
        if let Some(ends) = &self.ends {
            ends.abort();
        }
        metrics::gauge!("laneway_stream_connections").decrement(1);
        self.meter.change(self.home, -1);
    }
}

fn lock(tenants: &Mutex<Tenants>) -> MutexGuard<'_, Tenants> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use laneway_runtime::SystemClock;
    use laneway_tenancy::control::{RoleAuthority, TenantBody};
    use laneway_tenancy::{Home, Placement, TenantInfo};

    use super::*;

    /// Someone at this tenant's stream, from home where that is another one.
    fn reader(tenant: u128, version: i64, away_from: Option<Home>) -> Authenticated {
        let id = TenantId::from_u128(tenant);
        Authenticated {
            scope: RoleAuthority::for_role("test").scope(id),
            tenant: Arc::new(TenantInfo {
                id,
                slug: "x".to_owned(),
                body: TenantBody::plain("x", Placement::first(id, 1, 1)),
            }),
            control_version: version,
            away_from,
        }
    }

    fn change(tenant: u128, version: i64) -> DirectoryChange {
        let tenant = TenantId::from_u128(tenant);
        DirectoryChange {
            tenant,
            version,
            kind: ControlKind::Tenant,
            id: tenant.to_string(),
            deleted: false,
            registers: false,
        }
    }

    #[tokio::test]
    async fn only_what_is_newer_than_its_authentication_ends_a_connection() {
        let connections = Connections::new(1, Arc::new(SystemClock));
        let open = connections.register(&reader(7, 3, None), None).unwrap();
        connections.apply(&change(7, 3));
        assert!(!open.revoked.is_cancelled());
        connections.apply(&change(7, 4));
        assert!(open.revoked.is_cancelled());
    }

    #[tokio::test]
    async fn a_connection_elsewhere_ends_with_either_tenant_and_counts_at_home() {
        let connections = Connections::new(2, Arc::new(SystemClock));
        let home = Home {
            tenant: TenantId::from_u128(1),
            control_version: 30,
        };
        let open = || connections.register(&reader(7, 3, Some(home)), None);
        let (one, two) = (open().unwrap(), open().unwrap());
        assert!(open().is_none(), "as many as its own tenant may have");
        let theirs = connections.register(&reader(7, 3, None), None);
        assert!(theirs.is_some(), "nothing is taken from whose stream it is");
        connections.apply(&change(7, 3));
        connections.apply(&change(1, 30));
        assert!(!one.revoked.is_cancelled());
        drop(one);
        let three = open().unwrap();
        connections.apply(&change(1, 31));
        assert!(two.revoked.is_cancelled() && three.revoked.is_cancelled());
        assert!(!theirs.as_ref().unwrap().revoked.is_cancelled());
        drop((two, three));
        let four = open().unwrap();
        connections.apply(&change(7, 4));
        assert!(four.revoked.is_cancelled());
        drop((four, theirs));
        assert!(lock(&connections.tenants).is_empty());
    }

    #[tokio::test]
    async fn a_connection_ends_when_its_right_does() {
        let connections = Connections::new(9, Arc::new(SystemClock));
        let now = SystemClock.now_us();
        let reader = reader(7, 3, None);
        let ended = connections.register(&reader, Some(now - 1)).unwrap();
        let ends = connections.register(&reader, Some(now + 50_000)).unwrap();
        let stays = connections.register(&reader, Some(now + 1_000_000_000));
        for open in [ended, ends] {
            let bound = Duration::from_secs(20);
            tokio::time::timeout(bound, open.revoked.cancelled())
                .await
                .unwrap();
        }
        assert!(!stays.unwrap().revoked.is_cancelled());
    }
}
