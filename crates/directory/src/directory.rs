//! The tenants, devices and destinations as of the control versions read so far, and which of
//! them were known as of earlier ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use foldhash::{HashMap, HashMapExt, HashSet};
use laneway_schemas::{ControlKind, TenantEvent};
use laneway_tenancy::control::{
    DestinationBody, DeviceBody, HostBody, HostState, TenantBody, TenantState,
};
use laneway_tenancy::hosts::HostSettings;
use laneway_tenancy::{DestinationId, GrantId, Hosts, TenantId};
use tokio::sync::{broadcast, watch};

use crate::chain::{Chain, Origins};
use crate::grants::{GrantEntry, GrantTable};
use crate::lives::Lives;

/// Removed devices that a tenant may have: beyond it, the half that went first is forgotten.
const MAX_GONE: usize = 65_536;

/// A tenant, as of its last change that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantEntry {
    pub id: TenantId,
    pub body: TenantBody,
    /// The control version that deleted it.
    pub deleted_at: Option<i64>,
    /// As its options say.
    pub chain: Chain,
}

/// A destination, as of its last change that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationEntry {
    pub tenant: TenantId,
    pub id: DestinationId,
    pub version: i64,
    pub body: DestinationBody,
}

/// A control change that has been applied.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectoryChange {
    pub tenant: TenantId,
    pub version: i64,
    pub kind: ControlKind,
    pub id: String,
    pub deleted: bool,
    /// A device begins with it: there was nothing of it before.
    pub registers: bool,
}

#[derive(Default)]
struct Tenant {
    entry: Option<Arc<TenantEntry>>,
    /// The highest control version read.
    version: i64,
    /// Up to which nothing is missing. In a compacted topic, a change that a later one has
    /// replaced leaves a gap, until that later one is read.
    complete: i64,
    devices: HashMap<Box<str>, Lives>,
    /// Devices that are no more.
    gone: usize,
    destinations: BTreeMap<DestinationId, Arc<DestinationEntry>>,
}

impl Tenant {
    fn device(&mut self, id: &str, since: i64, until: Option<i64>) {
        let was_gone = match self.devices.get_mut(id) {
            Some(lives) => {
                let gone = lives.gone_at().is_some();
                lives.take(since, until);
                gone
            }
            None => {
                self.devices.insert(id.into(), Lives::new(since, until));
                false
            }
        };
        self.gone += usize::from(until.is_some());
        self.gone -= usize::from(was_gone);
        if self.gone > MAX_GONE {
            let mut gone: Vec<i64> = self.devices.values().filter_map(Lives::gone_at).collect();
            let half = gone.len() / 2;
            let (_, last, _) = gone.select_nth_unstable(half);
            self.devices
                .retain(|_, lives| lives.gone_at().is_none_or(|at| at >= *last));
            self.gone -= half;
        }
    }
}

/// Shared by the tasks of a process; filled by [`crate::follow`] alone.
pub struct Directory {
    tenants: RwLock<HashMap<TenantId, Tenant>>,
    grants: GrantTable,
    hosts: Arc<Hosts>,
    origins: Origins,
    changes: broadcast::Sender<DirectoryChange>,
    /// Tenants whose versions have a gap.
    gaps: Mutex<HashSet<TenantId>>,
    /// Counts applied changes, for [`Directory::wait_for`].
    applied: watch::Sender<u64>,
    caught_up: watch::Sender<bool>,
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    pub fn new() -> Self {
        Directory::with_hosts(HostSettings::default())
    }

    /// One whose tenants are named by host as the settings say.
    pub fn with_hosts(settings: HostSettings) -> Self {
        Directory {
            tenants: RwLock::new(HashMap::new()),
            grants: GrantTable::default(),
            hosts: Arc::new(Hosts::new(settings)),
            origins: Origins::default(),
            changes: broadcast::channel(4096).0,
            gaps: Mutex::default(),
            applied: watch::channel(0).0,
            caught_up: watch::channel(false).0,
        }
    }

    /// The names of the tenants, as of the same changes.
    pub fn hosts(&self) -> &Arc<Hosts> {
        &self.hosts
    }

    /// Whether any tenant names this origin as that of its pages.
    pub fn names_origin(&self, origin: &str) -> bool {
        self.origins.any(origin)
    }

    /// The tenant, if there is one.
    pub fn tenant(&self, tenant: TenantId) -> Option<Arc<TenantEntry>> {
        self.tenant_ever(tenant).filter(|t| t.deleted_at.is_none())
    }

    /// The tenant with the highest of its control versions that has been read.
    pub fn tenant_now(&self, tenant: TenantId) -> Option<(Arc<TenantEntry>, i64)> {
        let found = self.read(|tenants| {
            let known = tenants.get(&tenant)?;
            Some((known.entry.clone()?, known.version))
        });
        found.filter(|(entry, _)| entry.deleted_at.is_none())
    }

    /// What a partner may read by this grant, and of whom. It may have expired.
    pub fn grant(&self, id: GrantId) -> Option<Arc<GrantEntry>> {
        self.grants.find(id)
    }

    /// The tenant, also where it has been deleted.
    pub fn tenant_ever(&self, tenant: TenantId) -> Option<Arc<TenantEntry>> {
        self.read(|tenants| tenants.get(&tenant)?.entry.clone())
    }

    /// All tenants that have been read, deleted ones too.
    pub fn tenants(&self) -> Vec<Arc<TenantEntry>> {
        self.read(|tenants| tenants.values().filter_map(|t| t.entry.clone()).collect())
    }

    /// The highest control version of the tenant up to which all has been read.
    pub fn version(&self, tenant: TenantId) -> i64 {
        self.read(|tenants| tenants.get(&tenant).map_or(0, |t| t.complete))
    }

    /// Whether something may be missing of what is below the versions that were read.
    pub fn has_gaps(&self) -> bool {
        !self.gaps().is_empty()
    }

    /// For whoever fills it: the end of the topic is reached, and so whatever replaced the changes
    /// that were missing has been read.
    pub fn fill_gaps(&self) {
        let gaps = std::mem::take(&mut *self.gaps());
        {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            for tenant in gaps {
                if let Some(t) = tenants.get_mut(&tenant) {
                    t.complete = t.version;
                }
            }
        }
        self.applied.send_modify(|n| *n += 1);
    }

    fn gaps(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the device was registered as of a control version (at or below
    /// [`Directory::version`]).
    pub fn device_known(&self, tenant: TenantId, device: &str, version: i64) -> bool {
        self.read(|tenants| {
            tenants
                .get(&tenant)
                .and_then(|t| t.devices.get(device))
                .is_some_and(|lives| lives.knew(version))
        })
    }

    /// Whether there is such a device, or has been.
    pub fn device_ever_known(&self, tenant: TenantId, device: &str) -> bool {
        self.read(|tenants| {
            tenants
                .get(&tenant)
                .is_some_and(|t| t.devices.contains_key(device))
        })
    }

    pub fn destinations(&self) -> Vec<Arc<DestinationEntry>> {
        self.read(|tenants| {
            tenants
                .values()
                .flat_map(|t| t.destinations.values().cloned())
                .collect()
        })
    }

    pub fn destination(
        &self,
        tenant: TenantId,
        id: DestinationId,
    ) -> Option<Arc<DestinationEntry>> {
        self.read(|tenants| tenants.get(&tenant)?.destinations.get(&id).cloned())
    }

    /// Changes from now on. A receiver that lags must look at everything anew.
    pub fn changes(&self) -> broadcast::Receiver<DirectoryChange> {
        self.changes.subscribe()
    }

    /// Resolves once the control version has been read. An accepted event may have been
    /// authenticated against news that is still on its way.
    pub async fn wait_for(&self, tenant: TenantId, version: i64) {
        let mut applied = self.applied.subscribe();
        while self.version(tenant) < version {
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves once everything that was in the topic at start has been read.
    pub async fn caught_up(&self) {
        let mut caught_up = self.caught_up.subscribe();
        // The sender lives as long as `self`.
        let _ = caught_up.wait_for(|done| *done).await;
    }

    pub fn is_caught_up(&self) -> bool {
        *self.caught_up.borrow()
    }

    /// For whoever fills it: what was in the topic at start has been applied.
    pub fn set_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    /// Applies a change that was read. Changes of a tenant come in the order of their versions;
    /// one that comes again changes nothing.
    pub fn apply(&self, event: &TenantEvent) -> Result<(), String> {
        let tenant: TenantId = event
            .tenant_id
            .parse()
            .map_err(|e| format!("tenant_id: {e}"))?;
        let body =
            |what: &str, e: serde_json::Error| format!("{what} {} of {tenant}: {e}", event.id);
        let mut registers = false;
        {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            let t = tenants.entry(tenant).or_default();
            if event.version <= t.version {
                return Ok(());
            }
            match event.kind {
                ControlKind::Tenant => {
                    let parsed: TenantBody =
                        serde_json::from_str(&event.body).map_err(|e| body("tenant", e))?;
                    if parsed.state == TenantState::Closed {
                        t.devices = HashMap::new();
                        t.gone = 0;
                        t.destinations.clear();
                        self.hosts.remove_hosts(tenant);
                        self.grants.remove_all(tenant);
                    }
                    let old = t.entry.as_deref().map(|entry| entry.body.slug.as_str());
                    self.name(tenant, old, &parsed.slug, event.deleted);
                    self.hosts.set_former(tenant, &parsed.slug, &parsed.former);
                    let entry = TenantEntry {
                        id: tenant,
                        chain: Chain::of(&parsed.options),
                        body: parsed,
                        deleted_at: event.deleted.then_some(event.version),
                    };
                    let before = t.entry.replace(Arc::new(entry));
                    let after = t.entry.as_deref();
                    self.origins
                        .change(answering(before.as_deref()), answering(after));
                }
                ControlKind::Device => {
                    let parsed: DeviceBody =
                        serde_json::from_str(&event.body).map_err(|e| body("device", e))?;
                    let until = event.deleted.then_some(event.version);
                    t.device(&event.id, parsed.since, until);
                    registers = parsed.since == event.version;
                }
                ControlKind::Destination => {
                    let id: DestinationId =
                        event.id.parse().map_err(|e| format!("destination: {e}"))?;
                    if event.deleted {
                        t.destinations.remove(&id);
                    } else {
                        let parsed: DestinationBody = serde_json::from_str(&event.body)
                            .map_err(|e| body("destination", e))?;
                        let entry = DestinationEntry {
                            tenant,
                            id,
                            version: event.version,
                            body: parsed,
                        };
                        t.destinations.insert(id, Arc::new(entry));
                    }
                }
                ControlKind::Host => {
                    let host = event.id.parse().map_err(|e| format!("host: {e}"))?;
                    let live = !event.deleted && {
                        let parsed: HostBody =
                            serde_json::from_str(&event.body).map_err(|e| body("host", e))?;
                        parsed.state == HostState::Live
                    };
                    if live {
                        self.hosts.set_host(&host, tenant);
                    } else {
                        self.hosts.remove_host(&host, tenant);
                    }
                }
                ControlKind::Grant => self.grants.apply(tenant, event)?,
                ControlKind::Credential | ControlKind::Key | ControlKind::Other => {}
            }
            t.version = event.version;
            if t.complete + 1 == event.version {
                t.complete = event.version;
            } else {
                self.gaps().insert(tenant);
            }
        }
        self.applied.send_modify(|n| *n += 1);
        // Nobody listening is fine.
        let _ = self.changes.send(DirectoryChange {
            tenant,
            version: event.version,
            kind: event.kind,
            id: event.id.clone(),
            deleted: event.deleted,
            registers,
        });
        Ok(())
    }

    /// A tenant is found by its slug; by an earlier one no more.
    fn name(&self, tenant: TenantId, old: Option<&str>, slug: &str, deleted: bool) {
        if let Some(old) = old.filter(|old| *old != slug) {
            self.hosts.remove_slug(old, tenant);
        }
        if deleted {
            self.hosts.remove_slug(slug, tenant);
        } else {
            self.hosts.set_slug(slug, tenant);
        }
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<TenantId, Tenant>) -> T) -> T {
        look(&self.tenants.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The chain of a tenant that has pages to answer.
fn answering(entry: Option<&TenantEntry>) -> Option<&Chain> {
    let there = |entry: &&TenantEntry| {
        entry.deleted_at.is_none() && entry.body.state != TenantState::Closed
    };
    entry.filter(there).map(|entry| &entry.chain)
}

#[cfg(test)]
mod tests;
