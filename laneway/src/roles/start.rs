//! Patience at start: what a role needs may be starting, too.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use laneway_log::LogError;
use laneway_schemas::RegistryError;
use laneway_store::StoreError;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Whether waiting may help.
pub trait Passing {
    fn may_pass(&self) -> bool;
}

impl Passing for LogError {
    fn may_pass(&self) -> bool {
        matches!(self, LogError::Unavailable { .. })
    }
}

impl Passing for StoreError {
    fn may_pass(&self) -> bool {
        self.is_transient()
    }
}

impl Passing for RegistryError {
    fn may_pass(&self) -> bool {
        matches!(self, RegistryError::Unavailable { .. })
    }
}

/// Tries until it works, waiting cannot help, or a minute has passed.
pub async fn patiently<T, E, F>(
    doing: &'static str,
    mut attempt: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    E: Passing + std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if error.may_pass() && Instant::now() < give_up => {
                tracing::warn!(%error, "{doing} failed; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error).context(doing),
        }
    }
}
