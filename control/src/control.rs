//! The role: what it is built from, its background work, and its HTTP service.

use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use laneway_directory::Directory;
use laneway_log::Log;
use laneway_notices::Announcer;
use laneway_runtime::http::{Body, Peer, Service, body};
use laneway_runtime::{Clock, Lifecycle, TenantMetrics};
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{Authenticator, LocalSocket, Random};
use tokio::sync::broadcast::error::RecvError;
use tower::ServiceExt;

use crate::deliveries::Deliveries;
use crate::hosts::{Prover, prove_again};
use crate::rates::Rates;
use crate::relay::Relay;
use crate::requests::Requests;
use crate::trail::Trail;
use crate::{ControlSettings, api, platform};

/// Writes a consistent copy of the embedded log and store to a folder. Composition provides it
/// where both are embedded.
pub trait Backup: Send + Sync + 'static {
    /// The folder that was written.
    fn run(&self) -> BoxFuture<'_, anyhow::Result<String>>;
}

pub struct ControlDeps {
    pub store: Store,
    pub authenticator: Arc<Authenticator>,
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub authority: RoleAuthority,
    /// Where this process serves the operator's local socket.
    pub local_socket: Option<LocalSocket>,
    /// Where the log and the store are embedded, and there are no shards.
    pub backup: Option<Arc<dyn Backup>>,
    pub tenant_metrics: Arc<TenantMetrics>,
    pub announcer: Arc<Announcer>,
    pub settings: ControlSettings,
}

pub struct Control {
    pub(crate) deps: ControlDeps,
    pub(crate) deliveries: Deliveries,
    pub(crate) requests: Requests,
    pub(crate) rates: Rates,
    pub(crate) trail: Trail,
    pub(crate) prover: Prover,
    router: Router,
}

impl Control {
    pub fn build(deps: ControlDeps) -> Arc<Control> {
        let directory = deps.directory.clone();
        deps.store.number_after(&deps.authority, move |tenant| {
            directory.is_caught_up().then(|| directory.version(tenant))
        });
        Arc::new_cyclic(|weak| Control {
            requests: Requests::new(deps.tenant_metrics.clone()),
            rates: Rates::new(&deps.settings),
            trail: Trail::new(deps.store.clone()),
            prover: Prover::new(deps.settings.hosts.clone()),
            deps,
            deliveries: Deliveries::default(),
            router: api::router(weak.clone()),
        })
    }

    /// Creates the platform's own tenants where they are missing, then relays the outbox to the
    /// log, takes up news of revocations, proves hosts again, closes tenants, erases what
    /// comes late of erased devices, releases old claims, and gives notices, until the drain.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        platform::ensure_until_drain(&self.deps, &lifecycle).await?;
        let relay = Relay::new(self.clone());
        tokio::try_join!(
            relay.run(&lifecycle),
            prove_again(&self, &lifecycle),
            self.hear_of_changes(&lifecycle),
            crate::lag::measure(&*self.deps.log, &lifecycle),
            crate::closing::run(&self, &lifecycle),
            crate::late::run(&self, &lifecycle),
            crate::creating::run(&self, &lifecycle),
            crate::claims::run(&self, &lifecycle),
            crate::watching::run(&self, &lifecycle),
            self.deliveries.follow(&self.deps.log, &lifecycle),
            self.trail.run(&self.deps, &lifecycle),
        )?;
        Ok(())
    }

    async fn hear_of_changes(&self, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let mut changes = self.deps.directory.changes();
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            let change = tokio::select! {
                () = &mut draining => return Ok(()),
                change = changes.recv() => change,
            };
            match change {
                Ok(change) => change.forget_in(&self.deps.authenticator),
                Err(RecvError::Lagged(_)) => {
                    let deps = &self.deps;
                    deps.directory.forget_all_in(&deps.authenticator);
                }
                Err(RecvError::Closed) => {
                    draining.await;
                    return Ok(());
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(peer);
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.map(body::streamed)
    }
}

impl Service for Control {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(self.answer(request, peer))
    }
}
