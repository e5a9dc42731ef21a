//! What the lanes of a process share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use laneway_directory::Directory;
use laneway_log::Log;
use laneway_runtime::Clock;
use laneway_runtime::tenants::{TenantCounter, TenantMetrics};
use laneway_schemas::Codecs;
use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::destination::DestinationFactory;
use super::signals::Signals;
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
    /// So long after a lane has come to this member, all changes that any owner of it knew have
    /// come too.
    pub all_known: Duration,
    /// Of the jitter.
    pub seed: u64,
}

#[derive(Clone, Copy)]
pub struct Counters {
    pub delivered: TenantCounter,
    pub failed: TenantCounter,
    pub parked: TenantCounter,
    pub redriven: TenantCounter,
}

pub struct Shared {
    pub deps: DeliveryDeps,
    pub counters: Counters,
    pub budget: Arc<Budget>,
    pub backoff: Backoff,
    /// Bounds the readers of targets that are behind.
    pub readers: Arc<Semaphore>,
    pub signals: Arc<Signals>,
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
            redriven: counter(&[("outcome", "redriven")]),
        };
        let backoff = backoff(&deps.settings);
        let signals = Arc::new(Signals::new(
            Arc::clone(&deps.log),
            Arc::clone(&deps.codecs),
            Arc::clone(&deps.clock),
            deps.instance.clone(),
            (deps.settings.breaker_failures, backoff),
        ));
        let readers = Arc::new(Semaphore::new(deps.settings.catch_up_readers.max(1)));
        Shared {
            counters,
            budget: Arc::new(Budget::new(deps.settings.waiting_events)),
            deps,
            backoff,
            readers,
            signals,
            behind: Mutex::default(),
        }
    }

    /// Says how many targets of a lane are behind.
    pub fn behind(&self, partition: u32, targets: u32) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.insert(partition, targets);
        metrics::gauge!("laneway_sink_targets_behind").set(behind.values().sum::<u32>());
    }
}

fn backoff(settings: &DeliverySettings) -> Backoff {
    Backoff {
        first: Duration::from_millis(settings.backoff_ms.max(1)),
        longest: Duration::from_millis(settings.max_backoff_ms.max(1)),
    }
}
