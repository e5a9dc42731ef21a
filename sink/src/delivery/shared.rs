//! What the lanes of a process share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use laneway_directory::Directory;
use laneway_log::Log;
use laneway_runtime::Clock;
use laneway_runtime::tenants::{TenantCounter, TenantMetrics};
use laneway_schemas::Codecs;
use laneway_tenancy::DestinationId;
use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::breaker::Breaker;
use super::destination::DestinationFactory;
use super::target::Budget;
use crate::settings::DeliverySettings;

pub struct DeliveryDeps {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub factory: Arc<dyn DestinationFactory>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<TenantMetrics>,
    pub settings: DeliverySettings,
    pub instance: String,
    /// Of the jitter.
    pub seed: u64,
}

#[derive(Clone, Copy)]
pub struct Counters {
    pub delivered: TenantCounter,
    pub failed: TenantCounter,
    pub parked: TenantCounter,
}

pub struct Shared {
    pub deps: DeliveryDeps,
    pub counters: Counters,
    pub budget: Arc<Budget>,
    /// Bounds the readers of targets that are behind.
    pub readers: Arc<Semaphore>,
    breakers: Mutex<HashMap<DestinationId, Arc<Breaker>>>,
    behind: Mutex<HashMap<u32, u32>>,
}

impl Shared {
    pub fn new(deps: DeliveryDeps) -> Self {
        let counter = |labels| {
            deps.metrics.counter(
                "laneway_sink_deliveries_total",
                "Attempts to deliver events to destinations.",
                labels,
            )
        };
        let counters = Counters {
            delivered: counter(&[("outcome", "delivered")]),
            failed: counter(&[("outcome", "failed")]),
            parked: counter(&[("outcome", "parked")]),
        };
        let readers = Arc::new(Semaphore::new(deps.settings.catch_up_readers.max(1)));
        Shared {
            deps,
            counters,
            budget: Arc::default(),
            readers,
            breakers: Mutex::default(),
            behind: Mutex::default(),
        }
    }

    /// Says how many targets of a lane are behind.
    pub fn behind(&self, partition: u32, targets: u32) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.insert(partition, targets);
        metrics::gauge!("laneway_sink_targets_behind").set(behind.values().sum::<u32>());
    }

    pub fn backoff(&self) -> Backoff {
        Backoff {
            first: Duration::from_millis(self.deps.settings.backoff_ms.max(1)),
            longest: Duration::from_millis(self.deps.settings.max_backoff_ms.max(1)),
        }
    }

    /// The health of a destination, the same for all of its lanes here.
    pub fn breaker(&self, id: DestinationId) -> Arc<Breaker> {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of destinations that are gone are nobody else's.
        if breakers.len() > 1024 {
            breakers.retain(|_, breaker| Arc::strong_count(breaker) > 1);
        }
        let new = || {
            Arc::new(Breaker::new(
                self.deps.settings.breaker_failures,
                self.backoff(),
            ))
        };
        Arc::clone(breakers.entry(id).or_insert_with(new))
    }
}
