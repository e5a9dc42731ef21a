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
            match &done {
                Ok(()) => {
                    anew = false;
                    changed.clear();
                }
                Err(error) => {
                    tracing::warn!(%error, "certificates of hosts are not read; those that were stay in use");
                }
            }
            let change = tokio::select! {
                () = &mut draining => return Ok(()),
                change = changes.recv() => change,
                () = tokio::time::sleep(PAUSE), if done.is_err() => continue,
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

    async fn read_all(&self, store: &Store, authority: &RoleAuthority) -> Result<(), StoreError> {
        let proofs = store.host_proofs(authority);
        let mut table = Table::new();
        let mut after: Option<HostPattern> = None;
        loop {
            let page = proofs.certificates(after.as_ref(), PAGE).await?;
            let more = page.len() == PAGE as usize;
            after = page.last().map(|(host, _)| host.clone());
            for (host, certificate) in page {
                if let Some(key) = certificate.as_ref().and_then(usable) {
                    table.insert(host.as_str().into(), key);
                }
            }
            if !more {
                break;
            }
        }
        self.0.store(Arc::new(table));
        Ok(())
    }

    async fn read(
        &self,
        store: &Store,
        authority: &RoleAuthority,
        changed: &BTreeSet<HostPattern>,
    ) -> Result<(), StoreError> {
        let mut found = Vec::with_capacity(changed.len());
        for host in changed {
            let certificate = match store.host_proofs(authority).certificate(host).await {
                Err(error) if !error.is_transient() => {
                    tracing::error!(%error, %host, "the certificate of a host cannot be read");
                    None
                }
                read => read?,
            };
            found.push((host, certificate.as_ref().and_then(usable)));
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut table = Table::clone(&self.0.load());
        for (host, key) in found {
            match key {
                Some(key) => table.insert(host.as_str().into(), key),
                None => table.remove(host.as_str()),
            };
        }
        self.0.store(Arc::new(table));
        Ok(())
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
