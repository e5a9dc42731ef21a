//! The role: composition, and what it does in the background.

use std::sync::Arc;

use laneway_directory::Directory;
use laneway_log::Log;
use laneway_runtime::{Clock, Lifecycle, TenantMetrics};
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_store::audit::Denials;
use laneway_tenancy::{Authenticator, Random, new_id};
use tokio::sync::broadcast::error::RecvError;

use crate::accept::Accept;
use crate::quotas::Quotas;
use crate::rates::Rates;
use crate::settings::IngestSettings;

/// What the role is made of.
pub struct IngestDeps {
    pub log: Arc<dyn Log>,
    /// Registered: ingest writes `LocationUpdate` and `SessionEvent`.
    pub codecs: Arc<Codecs>,
    pub authenticator: Arc<Authenticator>,
    /// For questions about sessions, new devices, and rates that hold over all nodes.
    pub store: Store,
    /// Followed by someone else.
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    /// For ids of sessions that come without one.
    pub random: Arc<dyn Random>,
    pub tenant_metrics: Arc<TenantMetrics>,
    pub settings: IngestSettings,
}

/// The role, shared by its listeners.
pub struct Ingest {
    pub(crate) accept: Accept,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) settings: IngestSettings,
    /// Refusals on their way to the audit trail.
    pub(crate) denials: Denials,
}

impl Ingest {
    pub fn build(deps: IngestDeps) -> Arc<Self> {
        let (authenticator, settings) = (deps.authenticator.clone(), deps.settings.clone());
        let denials = Denials::new(deps.store.clone());
        Arc::new(Ingest {
            accept: Accept::new(deps),
            authenticator,
            settings,
            denials,
        })
    }

    /// Work in the background, until the drain: news of revocations reach the cache of
    /// credentials as soon as the directory has them, and rates and quotas are shared with other nodes.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let accept = &self.accept;
        let node = format!("{:032x}", new_id(&*accept.random, accept.clock.now_us()));
        let rates = Rates::new(
            accept.store.clone(),
            accept.directory.clone(),
            accept.clock.clone(),
            node.clone(),
        );
        let quotas = Quotas::new(accept.store.clone(), accept.clock.clone(), node);
        let clock = accept.clock.clone();
        let denials = async {
            let now = move || clock.now_us();
            self.denials.run(now, lifecycle.draining()).await;
            Ok(())
        };
        tokio::try_join!(
            rates.run(&accept.limiter, &lifecycle),
            quotas.run(&accept.quotas, &lifecycle),
            self.follow(&lifecycle),
            denials
        )?;
        Ok(())
    }

    async fn follow(&self, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let mut changes = self.directory().changes();
        // What changed before there was anyone to listen is not cached either: nothing is.
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            let change = tokio::select! {
                () = &mut draining => return Ok(()),
                change = changes.recv() => change,
            };
            match change {
                Ok(change) => change.forget_in(&self.authenticator),
                Err(RecvError::Lagged(missed)) => self.forget_all(missed),
                Err(RecvError::Closed) => {
                    draining.await;
                    return Ok(());
                }
            }
        }
    }

    fn directory(&self) -> &Directory {
        &self.accept.directory
    }

    /// Which changes were missed is not known: every tenant's credentials are read anew.
    fn forget_all(&self, missed: u64) {
        // All there is comes at a start, when nothing is cached yet.
        if self.directory().is_caught_up() {
            tracing::warn!(
                missed,
                "control changes came faster than they were taken up; all credentials are verified anew"
            );
        }
        self.directory().forget_all_in(&self.authenticator);
    }
}
