//! From (who, batch) to records and outcomes: limit → validate → place → encode → append.
//!
//! Knows nothing of any transport. Preparing is synchronous, so that a request that is
//! authenticated from the cache waits for nothing but the log.

mod check;
mod device;
mod look_up;
mod metrics;
mod news;
mod outcome;
mod quota;
mod record;
mod refused;
mod sessions;
mod start_stop;
mod updates;

use std::sync::Arc;

use laneway_directory::Directory;
use laneway_log::{Log, Records};
use laneway_runtime::Clock;
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_tenancy::quota::{Admission, QuotaMeter};
use laneway_tenancy::{Authenticated, Random, TenantLimiter};

pub use outcome::{Note, Outcome, Prepared};
pub use refused::Refused;
pub use start_stop::{SessionAnswer, SessionMoment};

use crate::IngestDeps;
use crate::refusal::shown;
use device::Sender;
pub use metrics::Endpoint;
use metrics::Metrics;
use sessions::Sessions;

/// Turns what clients sent into records, and waits until they are durable.
pub struct Accept {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) codecs: Arc<Codecs>,
    pub(crate) store: Store,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) limiter: TenantLimiter,
    pub(crate) quotas: QuotaMeter,
    sessions: Sessions,
    metrics: Metrics,
}

impl Accept {
    /// Counts a request of someone who is known.
    pub fn requested(&self, who: &Authenticated, endpoint: Endpoint) {
        self.metrics.requested(&who.tenant, endpoint);
    }

    pub(crate) fn new(deps: IngestDeps) -> Self {
        let IngestDeps {
            log,
            codecs,
            store,
            directory,
            clock,
            random,
            tenant_metrics,
            settings,
            ..
        } = deps;
        Accept {
            log,
            codecs,
            store,
            directory,
            clock,
            random,
            limiter: TenantLimiter::new(settings.limited_tenants, settings.limited_devices),
            quotas: QuotaMeter::new(settings.limited_tenants),
            sessions: Sessions::new(settings.remembered_sessions),
            metrics: Metrics::new(tenant_metrics),
        }
    }

    /// Resolves once every record is durable: only then may anything be confirmed. What was
    /// taken from quotas is given back where that fails.
    pub async fn append(&self, records: Records, admission: Admission) -> Result<(), Refused> {
        if records.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(records).await.map_err(Refused::Log);
        if appended.is_err() {
            admission.give_back();
        }
        appended
    }

    /// Whether the credential may send locations at all.
    pub fn may_send(&self, who: &Authenticated) -> Result<(), Refused> {
        Sender::of(who, &self.directory).map(drop)
    }

    /// Refuses a tenant that the credential does not belong to, whether or not there is one.
    fn same_tenant(&self, who: &Authenticated, named: Option<&str>) -> Result<(), Refused> {
        let Some(named) = named else { return Ok(()) };
        if named == who.tenant.slug || named.parse() == Ok(who.tenant.id) {
            return Ok(());
        }
        self.metrics.tenant_mismatch.increment(1);
        Err(Refused::TenantMismatch {
            named: shown(named).to_owned(),
        })
    }
}
