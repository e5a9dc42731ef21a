//! Metering: what tenants use, counted from the topics into the store.
//!
//! Accepted events are counted where ingest wrote them, deliveries where the cursors of
//! destinations say how many were acknowledged. As with the projection, the group says who counts
//! which partition, and how far it has come is in the store, in the transaction that adds the
//! counts: whoever is killed where, every record counts once.

mod count;
mod session;
mod warning;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway_directory::Directory;
use laneway_log::{Log, LogError};
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::Codecs;
use laneway_store::{Store, StoreError};
use laneway_tenancy::control::RoleAuthority;

use crate::settings::MeteringSettings;

const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What metering needs of the sink.
pub struct MeteringDeps {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub store: Store,
    pub authority: RoleAuthority,
    pub clock: Arc<dyn Clock>,
    pub settings: MeteringSettings,
    /// Names this member over its restarts.
    pub instance: String,
}

pub struct Metering {
    deps: MeteringDeps,
    trouble: Mutex<Option<String>>,
}

impl Metering {
    pub fn new(deps: MeteringDeps) -> Self {
        Metering {
            deps,
            trouble: Mutex::default(),
        }
    }

    /// Why nothing is counted at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs until the drain.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        loop {
            let error = match session::run(&self, &lifecycle).await {
                Ok(()) => return Ok(()),
                Err(MeteringError::Log(error @ (LogError::Fatal(_) | LogError::Config(_)))) => {
                    return Err(error.into());
                }
                Err(error) => error,
            };
            if lifecycle.is_draining() {
                return Ok(());
            }
            self.set_trouble(Some(error.to_string()));
            tracing::warn!(%error, "metering was interrupted; going on from where the store is");
            tokio::select! {
                () = lifecycle.draining() => return Ok(()),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
