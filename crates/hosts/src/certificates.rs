//! Certificates of tenants' hosts, as the store has them, at hand for every TLS handshake.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::{HashMap, HashMapExt};
use laneway_directory::Directory;
use laneway_runtime::Lifecycle;
use laneway_runtime::http::HostCertificates;
use laneway_schemas::ControlKind;
use laneway_store::{HostCertificate, Store, StoreError};
use laneway_tenancy::HostPattern;
use laneway_tenancy::control::{RoleAuthority, TenantState};
use rustls::sign::CertifiedKey;
use tokio::sync::broadcast::error::RecvError;

use crate::certificate;

/// Read at once.
const PAGE: u32 = 200;
/// Beyond so many changes that wait, all are read anew.
const WAITING: usize = 1000;
/// After trouble with the store: what was read stays in use.
const PAUSE: Duration = Duration::from_millis(500);
/// After which it is asked again for those whose database is away.
const AWAY: Duration = Duration::from_secs(5);

type Table = HashMap<Box<str>, Arc<CertifiedKey>>;

/// By host, wildcards with their asterisk.
#[derive(Debug)]
pub struct Certificates(ArcSwap<Table>);

impl Default for Certificates {
    fn default() -> Self {
        Certificates(ArcSwap::from_pointee(Table::new()))
    }
}

impl HostCertificates for Certificates {
    /// A wildcard stands for one label, as in the certificates themselves.
    fn of(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        if table.is_empty() {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let own = table.get(host.as_str());
        let found = own.or_else(|| {
            let (_, parent) = host.split_once('.')?;
            table.get(format!("*.{parent}").as_str())
        });
        found.cloned()
    }
}

impl Certificates {
    /// Keeps up with the store until the drain: all of it once the directory has caught up, then
    /// each host that changes. While the store is away, what was read stays in use.
    pub async fn follow(
        self: Arc<Self>,
        store: Store,
        directory: Arc<Directory>,
        authority: RoleAuthority,
        lifecycle: Lifecycle,
    ) -> anyhow::Result<()> {
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        tokio::select! {
            () = &mut draining => return Ok(()),
            () = directory.caught_up() => {}
        }
        let mut changes = directory.changes();
        let (mut anew, mut changed) = (true, BTreeSet::new());
        loop {
            let done = if anew {
                self.read_all(&store, &authority).await
            } else {
                self.read(&store, &authority, &changed).await
            };
            let again = match done {
                Ok(away) => {
                    anew = false;
                    changed = away;
                    (!changed.is_empty()).then_some(AWAY)
                }
                Err(error) => {
                    tracing::warn!(%error, "certificates of hosts are not read; those that were stay in use");
                    Some(PAUSE)
                }
            };
            let change = tokio::select! {
                () = &mut draining => return Ok(()),
                change = changes.recv() => change,
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => continue,
            };
            match change {
                Ok(change) if change.kind == ControlKind::Host => {
                    changed.extend(change.id.parse::<HostPattern>());
                    anew |= changed.len() > WAITING;
                }
                // What a closed tenant had is erased.
                Ok(change) if change.kind == ControlKind::Tenant => {
                    let tenant = directory.tenant_ever(change.tenant);
                    anew |= tenant.is_some_and(|t| t.body.state == TenantState::Closed);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => anew = true,
                Err(RecvError::Closed) => {
                    draining.await;
                    return Ok(());
                }
            }
        }
    }

    /// Answers which hosts are in a database that is away: what was read of them stays in use.
    async fn read_all(
        &self,
        store: &Store,
        authority: &RoleAuthority,
    ) -> Result<BTreeSet<HostPattern>, StoreError> {
        let proofs = store.host_proofs(authority);
        let before = self.0.load();
        let (mut table, mut away) = (Table::new(), BTreeSet::new());
        let mut after: Option<HostPattern> = None;
        loop {
            let page = proofs.certificates(after.as_ref(), PAGE).await?;
            let more = page.len() == PAGE as usize;
            after = page.last().map(|(host, _)| host.clone());
            for (host, read) in page {
                let key = match found(&host, read) {
                    Ok(key) => key,
                    Err(_) => {
                        away.insert(host.clone());
                        before.get(host.as_str()).cloned()
                    }
                };
                table.extend(key.map(|key| (host.as_str().into(), key)));
            }
            if !more {
                break;
            }
        }
        self.0.store(Arc::new(table));
        Ok(away)
    }

    /// The same of some hosts.
    async fn read(
        &self,
        store: &Store,
        authority: &RoleAuthority,
        changed: &BTreeSet<HostPattern>,
    ) -> Result<BTreeSet<HostPattern>, StoreError> {
        let (mut read, mut away) = (Vec::with_capacity(changed.len()), BTreeSet::new());
        for host in changed {
            let certificate = store.host_proofs(authority).certificate(host).await;
            match found(host, certificate) {
                Ok(key) => read.push((host, key)),
                Err(_) => {
                    away.insert(host.clone());
                }
            }
        }
        if read.is_empty() {
            return Ok(away);
        }
        let mut table = Table::clone(&self.0.load());
        for (host, key) in read {
            match key {
                Some(key) => table.insert(host.as_str().into(), key),
                None => table.remove(host.as_str()),
            };
        }
        self.0.store(Arc::new(table));
        Ok(away)
    }
}

/// What can be used of what was read; an error where it could not be read now.
fn found(
    host: &HostPattern,
    read: Result<Option<HostCertificate>, StoreError>,
) -> Result<Option<Arc<CertifiedKey>>, StoreError> {
    match read {
        Err(error) if !error.is_transient() => {
            tracing::error!(%error, %host, "the certificate of a host cannot be read");
            Ok(None)
        }
        read => Ok(read?.as_ref().and_then(usable)),
    }
}

/// It was checked when it was stored.
fn usable(found: &HostCertificate) -> Option<Arc<CertifiedKey>> {
    match certificate::open(&found.chain, &found.key) {
        Ok(key) => Some(Arc::new(key)),
        Err(error) => {
            tracing::error!(%error, host = %found.host, "a stored certificate cannot be used");
            None
        }
    }
}
