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

#[derive(Default)]
struct Table {
    tenants: HashMap<TenantId, OfTenant>,
    /// Connections whose credential or grant ends by itself, by when it does.
    ends: BTreeMap<(i64, u64), CancellationToken>,
}

pub struct Connections {
    limit: usize,
    /// Ends them all. A connection looks at its own token alone: this one is everybody's.
    stop: CancellationToken,
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
    /// Whose key it is.
    home: TenantId,
    /// Whose stream it is.
    tenant: TenantId,
    id: u64,
    ends_at: i64,
    /// Cancelled when the connection has lost its right, and when the sink stops.
    pub ended: CancellationToken,
}

impl Connections {
    pub fn new(limit: usize, stop: CancellationToken, clock: Arc<dyn Clock>) -> Self {
        Connections {
            limit,
            stop,
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

    /// Counts it for the tenant whose key it is; `None` where that has as many on this node as the
    /// settings say, or, with those that are open on others, as many as its own limit does.
    pub fn register(&self, who: &Authenticated, elsewhere: usize) -> Option<Registered> {
        let (home, tenant) = (who.home(), who.scope.tenant());
        let limit = match home.tenant.body.limits.sockets {
            0 => self.limit,
            own => self.limit.min((own as usize).saturating_sub(elsewhere)),
        };
        let mut table = lock(&self.open);
        let at_home = table.tenants.entry(home.tenant.id).or_default();
        if at_home.own >= limit {
            return None;
        }
        let (key, grant) = match who.scope.principal() {
            Principal::Key { id, .. } => (Some(id), None),
            Principal::Partner { key, grant, .. } => (Some(key), Some(grant)),
            _ => (None, None),
        };
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let cancel = self.stop.child_token();
        at_home.own += 1;
        at_home.open.push(Open {
            id,
            by: key.map(|key| (ControlKind::Key, key.to_string())),
            version: home.control_version,
            cancel: cancel.clone(),
        });
        if tenant != home.tenant.id {
            table.tenants.entry(tenant).or_default().open.push(Open {
                id,
                by: grant.map(|grant| (ControlKind::Grant, grant.to_string())),
                version: who.control_version,
                cancel: cancel.clone(),
            });
        }
        if who.ends_at < i64::MAX {
            table.ends.insert((who.ends_at, id), cancel.clone());
        }
        drop(table);
        metrics::gauge!("laneway_stream_connections").increment(1);
        self.meter.change(home.tenant.id, 1);
        Some(Registered {
            open: Arc::clone(&self.open),
            meter: Arc::clone(&self.meter),
            home: home.tenant.id,
            tenant,
            id,
            ends_at: who.ends_at,
            ended: cancel,
        })
    }

    /// How many connections of a tenant's keys are open on this node.
    pub fn open_of(&self, tenant: TenantId) -> usize {
        let table = lock(&self.open);
        table.tenants.get(&tenant).map_or(0, |found| found.own)
    }

    /// Ends what a control change takes the right from. A tenant's change may move its lanes:
    /// its clients connect anew and are authorised anew. What a connection was authenticated
    /// against is no news to it, however late it arrives.
    pub fn apply(&self, change: &DirectoryChange) {
        let table = lock(&self.open);
        let Some(of_tenant) = table.tenants.get(&change.tenant) else {
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

    /// Ends those whose credentials have ended by themselves at `now`.
    pub fn end_outlived(&self, now: i64) {
        let mut table = lock(&self.open);
        while let Some(first) = table.ends.first_entry().filter(|e| e.key().0 <= now) {
            first.remove().cancel();
        }
    }

    /// Ends all of them: control changes were missed.
    pub fn end_all(&self) {
        let table = lock(&self.open);
        for connection in table.tenants.values().flat_map(|of_tenant| &of_tenant.open) {
            connection.cancel.cancel();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut table = lock(&self.open);
        table.ends.remove(&(self.ends_at, self.id));
        for tenant in [self.home, self.tenant] {
            let Some(of_tenant) = table.tenants.get_mut(&tenant) else {
                continue;
            };
            let before = of_tenant.open.len();
            of_tenant.open.retain(|c| c.id != self.id);
            if tenant == self.home && of_tenant.open.len() < before {
                of_tenant.own -= 1;
            }
            if of_tenant.open.is_empty() {
                table.tenants.remove(&tenant);
            }
        }
        drop(table);
        metrics::gauge!("laneway_stream_connections").decrement(1);
        self.meter.change(self.home, -1);
    }
}

fn lock(open: &Mutex<Table>) -> MutexGuard<'_, Table> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use laneway_runtime::SystemClock;
    use laneway_tenancy::control::{RoleAuthority, TenantBody};
    use laneway_tenancy::{Caller, Home, Placement, TenantInfo};

    use super::*;

    fn info(tenant: u128, sockets: u32) -> Arc<TenantInfo> {
        let id = TenantId::from_u128(tenant);
        let mut body = TenantBody::plain("x", Placement::first(id, 1, 1));
        body.limits.sockets = sockets;
        Arc::new(TenantInfo {
            id,
            slug: "x".to_owned(),
            body,
        })
    }

    /// At version 3 of a tenant.
    fn reader(tenant: Arc<TenantInfo>, ends_at: i64) -> Authenticated {
        reader_from(None, tenant, ends_at)
    }

    fn reader_from(
        away_from: Option<Home>,
        tenant: Arc<TenantInfo>,
        ends_at: i64,
    ) -> Authenticated {
        Authenticated::from(Caller {
            scope: RoleAuthority::for_role("test").scope(tenant.id),
            tenant,
            control_version: 3,
            ends_at,
            away_from,
        })
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

    fn connections(limit: usize) -> Connections {
        Connections::new(limit, CancellationToken::new(), Arc::new(SystemClock))
    }

    #[test]
    fn a_tenant_has_no_more_connections_than_its_own_limit_or_the_settings_say() {
        let connections = connections(3);
        let cases = [
            (1, 2, 0, 2),
            (2, 0, 9, 3),
            (3, 9, 0, 3),
            (4, 9, 7, 2),
            (5, 2, 9, 0),
        ];
        for (tenant, sockets, elsewhere, most) in cases {
            let who = reader(info(tenant, sockets), i64::MAX);
            let register = || connections.register(&who, elsewhere);
            let mut open: Vec<_> = std::iter::from_fn(register).take(5).collect();
            assert_eq!(open.len(), most, "{sockets} of 3, {elsewhere} elsewhere");
            assert_eq!(connections.open_of(who.scope.tenant()), most);
            if open.pop().is_some() {
                assert!(register().is_some(), "room again");
            }
        }
    }

    #[test]
    fn a_connection_ends_with_its_credential() {
        let connections = connections(9);
        let open = [10, 20, i64::MAX].map(|ends_at| {
            let who = reader(info(7, 0), ends_at);
            connections.register(&who, 0).unwrap()
        });
        for (now, ended) in [(9, 0), (10, 1), (30, 2)] {
            connections.end_outlived(now);
            let gone = open.iter().filter(|open| open.ended.is_cancelled());
            assert_eq!(gone.count(), ended, "at {now}");
        }
        connections.stop.cancel();
        assert!(open.iter().all(|open| open.ended.is_cancelled()));
        drop(open);
        assert!(lock(&connections.open).ends.is_empty());
    }

    #[test]
    fn only_what_is_newer_than_its_authentication_ends_a_connection() {
        let connections = connections(1);
        let open = connections
            .register(&reader(info(7, 0), i64::MAX), 0)
            .unwrap();
        connections.apply(&change(7, 3));
        assert!(!open.ended.is_cancelled());
        connections.apply(&change(7, 4));
        assert!(open.ended.is_cancelled());
    }

    #[test]
    fn a_connection_elsewhere_ends_with_either_tenant_and_counts_at_home() {
        let connections = connections(9);
        let theirs = reader(info(7, 1), i64::MAX);
        let theirs = connections.register(&theirs, 0).unwrap();
        let home = Home {
            tenant: info(1, 2),
            control_version: 30,
        };
        let who = reader_from(Some(home), info(7, 1), i64::MAX);
        let open = || connections.register(&who, 0);
        let (one, two) = (open().unwrap(), open().unwrap());
        assert!(open().is_none(), "as many as its own tenant may have");
        connections.apply(&change(7, 3));
        connections.apply(&change(1, 30));
        assert!(!one.ended.is_cancelled());
        drop(one);
        let three = open().unwrap();
        connections.apply(&change(1, 31));
        assert!(two.ended.is_cancelled() && three.ended.is_cancelled());
        assert!(!theirs.ended.is_cancelled());
        drop((two, three));
        let four = open().unwrap();
        connections.apply(&change(7, 4));
        assert!(four.ended.is_cancelled());
        drop((four, theirs));
        assert!(lock(&connections.open).tenants.is_empty());
    }
}
