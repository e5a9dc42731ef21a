//! The projection: latest positions and sessions into the store, for the API and the console.
//!
//! The group says who projects which partition; how far it has come is in the store, in the
//! transaction that writes the rows. So a row is never lost, and what is written twice is the
//! same.

mod rows;
mod session;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway_log::{Log, LogError};
use laneway_runtime::Lifecycle;
use laneway_schemas::Codecs;
use laneway_store::{Store, StoreError};
use laneway_tenancy::control::RoleAuthority;

use crate::settings::ProjectionSettings;

const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Projection {
    log: Arc<dyn Log>,
    codecs: Arc<Codecs>,
    store: Store,
    authority: RoleAuthority,
    settings: ProjectionSettings,
    instance: String,
    trouble: Mutex<Option<String>>,
}

impl Projection {
    pub fn new(
        log: Arc<dyn Log>,
        codecs: Arc<Codecs>,
        store: Store,
        authority: RoleAuthority,
        settings: ProjectionSettings,
        instance: String,
    ) -> Self {
        Projection {
            log,
            codecs,
            store,
            authority,
            settings,
            instance,
            trouble: Mutex::default(),
        }
    }

    /// Why nothing is projected at the moment.
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
                Err(ProjectionError::Log(error @ (LogError::Fatal(_) | LogError::Config(_)))) => {
                    return Err(error.into());
                }
                Err(error) => error,
            };
            if lifecycle.is_draining() {
                return Ok(());
            }
            self.set_trouble(Some(error.to_string()));
            tracing::warn!(%error, "the projection was interrupted; going on from where the store is");
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
