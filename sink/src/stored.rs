//! What the projection and metering have in common: members of a group whose position is in the
//! store.
//!
//! The group says who owns which partition. How far a partition has come is in the store, in the
//! transaction that writes what came of it; the group's own offsets only tell the lag.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{Committer, Epoch, LogError, Records, Topic, Unit};
use laneway_runtime::Lifecycle;
use laneway_store::StoreError;
use tokio::time::{Interval, MissedTickBehavior};

/// How often the group is told.
pub(crate) const COMMIT: Duration = Duration::from_secs(5);
/// Of the topics: counts their placements, of which there has been one.
pub(crate) const GENERATION: u32 = 1;
/// How long it waits before it tries again.
pub(crate) const AGAIN: Duration = Duration::from_millis(500);

/// What ends a membership.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One of the two, with what keeps it from going on.
pub(crate) struct Part {
    name: &'static str,
    trouble: Mutex<Option<String>>,
}

impl Part {
    pub(crate) fn new(name: &'static str) -> Self {
        Part {
            name,
            trouble: Mutex::default(),
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(crate) fn is_well(&self) {
        *self.lock() = None;
    }

    pub(crate) fn is_troubled_by(&self, error: &impl Display) {
        *self.lock() = Some(error.to_string());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one membership after another until the drain. Each goes on from where the store is.
    pub(crate) async fn run<M>(
        &self,
        lifecycle: &Lifecycle,
        membership: impl Fn() -> M,
    ) -> anyhow::Result<()>
    where
        M: Future<Output = Result<(), StoredError>>,
    {
        loop {
            let error = match membership().await {
                Ok(()) => return Ok(()),
                Err(StoredError::Log(error @ (LogError::Fatal(_) | LogError::Config(_)))) => {
                    return Err(error.into());
                }
                Err(error) => error,
            };
            if lifecycle.is_draining() {
                return Ok(());
            }
            self.is_troubled_by(&error);
            tracing::warn!(%error, "{} was interrupted; going on from where the store is", self.name);
            tokio::select! {
                () = lifecycle.draining() => return Ok(()),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Waits a moment for the store, which may come back: the log keeps. Any other error of it is
    /// given back; `Moved` is one, when another member has written or this one has without
    /// hearing of it.
    pub(crate) async fn wait_for_store(
        &self,
        lifecycle: &Lifecycle,
        error: StoreError,
    ) -> Result<(), StoredError> {
        if !error.is_transient() || lifecycle.is_draining() {
            return Err(error.into());
        }
        self.wait_for("the store", &error).await;
        Ok(())
    }

    pub(crate) async fn wait_for_registry(
        &self,
        lifecycle: &Lifecycle,
        error: impl Display,
    ) -> Result<(), StoredError> {
        if lifecycle.is_draining() {
            let reason = error.to_string();
            let doing = self.name;
            return Err(LogError::Unavailable { doing, reason }.into());
        }
        self.wait_for("the schema registry", &error).await;
        Ok(())
    }

    async fn wait_for(&self, what: &str, error: &impl Display) {
        self.is_troubled_by(error);
        tracing::warn!(%error, "{} waits for {what}", self.name);
        tokio::time::sleep(AGAIN).await;
    }
}

/// What the group is told next.
#[derive(Default)]
pub(crate) struct Told(HashMap<(Topic, u32), u64>);

impl Told {
    pub(crate) fn next(&mut self, topic: Topic, partition: u32, offset: u64) {
        self.0.insert((topic, partition), offset);
    }

    pub(crate) fn forget(&mut self, partitions: &[u32]) {
        self.0.retain(|(_, p), _| !partitions.contains(p));
    }

    pub(crate) async fn commit(
        &mut self,
        committer: &dyn Committer,
        epoch: Epoch,
    ) -> Result<(), LogError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let offsets = self.0.drain().map(|((t, p), at)| (t, p, at)).collect();
        committer
            .commit(Unit {
                epoch,
                records: Records::new(),
                offsets,
            })
            .await
    }
}

/// Ticks that do not bunch up after a stall.
pub(crate) fn every(period: Duration) -> Interval {
    let mut every = tokio::time::interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}
