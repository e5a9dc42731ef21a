//! Checks of what a role depends on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway_runtime::{CheckState, Health, Lifecycle};
use laneway_store::Store;

const ASK_EVERY: Duration = Duration::from_secs(2);

pub fn failing(result: Result<(), impl Into<String>>) -> CheckState {
    match result {
        Ok(()) => CheckState::Ok,
        Err(reason) => CheckState::Failing(reason.into()),
    }
}

/// Without the store, what is known goes on for a while: degraded, not failing.
pub fn watch_store(store: Store, lifecycle: &Lifecycle, health: &Health) {
    let state = Arc::new(Mutex::new(CheckState::Ok));
    let said = state.clone();
    health.add("store", move || {
        said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    });
    let draining = lifecycle.draining();
    lifecycle.spawn("store health", async move {
        tokio::pin!(draining);
        loop {
            let now = match store.health().await {
                Ok(()) => CheckState::Ok,
                Err(error) => CheckState::Degraded(error.to_string()),
            };
            *state.lock().unwrap_or_else(PoisonError::into_inner) = now;
            tokio::select! {
                () = &mut draining => return Ok(()),
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
        }
    });
}
