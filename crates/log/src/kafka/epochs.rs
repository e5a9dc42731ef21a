//! Which assignment a member's units may commit under.
//!
//! Invariant: a unit uses only the group metadata that was captured at its own assignment. The
//! broker accepts fresh metadata even for a partition that the member has just lost.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;

use crate::{Epoch, LogError, Result};

#[derive(Default)]
pub(super) struct Epochs {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    current: Option<Arc<ConsumerGroupMetadata>>,
    committing: bool,
    /// The producer can do nothing more: neither can the member, and one that joins anew gets
    /// another.
    over: Option<LogError>,
}

impl Epochs {
    /// A new assignment begins.
    pub(super) fn open(&self, metadata: ConsumerGroupMetadata) -> Epoch {
        let mut state = self.lock();
        state.last += 1;
        state.current = Some(Arc::new(metadata));
        Epoch(state.last)
    }

    /// The assignment is over: no further unit begins. Waits up to `timeout` for the one that
    /// is being committed.
    pub(super) fn close(&self, timeout: Duration) {
        let mut state = self.lock();
        state.current = None;
        let _ = self
            .idle
            .wait_timeout_while(state, timeout, |state| state.committing);
    }

    /// No unit of this member will be committed any more.
    pub(super) fn end(&self, cause: LogError) {
        self.lock().over.get_or_insert(cause);
    }

    /// Why no unit will be committed any more.
    pub(super) fn over(&self) -> Option<LogError> {
        self.lock().over.clone()
    }

    /// Lets a unit of `epoch` begin.
    pub(super) fn enter(&self, epoch: Epoch) -> Result<Entered<'_>> {
        let mut state = self.lock();
        if let Some(over) = &state.over {
            return Err(over.clone());
        }
        match &state.current {
            Some(metadata) if state.last == epoch.0 => {
                let metadata = metadata.clone();
                state.committing = true;
                Ok(Entered {
                    epochs: self,
                    metadata,
                })
            }
            _ => Err(LogError::Fenced {
                doing: "committing a unit",
                reason: format!("its assignment {} is over", epoch.0),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A unit that is being committed.
pub(super) struct Entered<'a> {
    epochs: &'a Epochs,
    pub(super) metadata: Arc<ConsumerGroupMetadata>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.epochs.lock().committing = false;
        self.epochs.idle.notify_all();
    }
}
