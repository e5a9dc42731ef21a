//! Counters of what is accepted and refused. Handles are kept: looking one up costs more than
//! counting.

use std::sync::Arc;

use laneway_runtime::TenantMetrics;
use laneway_runtime::tenants::{TenantCounter, TenantHandle};
use laneway_tenancy::TenantInfo;
use metrics::{Counter, counter};

use crate::refusal::Kind;

/// What of the API was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Endpoint {
    Update,
    SessionStart,
    SessionStop,
    SessionRead,
}

pub struct Metrics {
    pub tenant_mismatch: Counter,
    pub rate_limited: Counter,
    pub quota_exceeded: Counter,
    refused: [Counter; Kind::ALL.len()],
    tenants: Arc<TenantMetrics>,
    accepted_of_tenant: TenantCounter,
    refused_of_tenant: TenantCounter,
    /// By [`Endpoint`].
    requests: [TenantCounter; 4],
}

impl Metrics {
    pub fn new(tenants: Arc<TenantMetrics>) -> Self {
        let of_tenant = |help, labels| tenants.counter("laneway_ingest_fixes_total", help, labels);
        let requests = |labels| {
            tenants.counter(
                "api_requests_total",
                "Requests with valid credentials",
                labels,
            )
        };
        Metrics {
            requests: [
                requests(&[("endpoint", "location.update")]),
                requests(&[("endpoint", "location.session.start")]),
                requests(&[("endpoint", "location.session.stop")]),
                requests(&[("endpoint", "location.session.read")]),
            ],
            tenant_mismatch: counter!("laneway_ingest_tenant_mismatches_total"),
            rate_limited: counter!("laneway_ingest_requests_rate_limited_total"),
            quota_exceeded: counter!("laneway_ingest_requests_over_quota_total"),
            refused: Kind::ALL
                .map(|kind| counter!("laneway_ingest_fixes_refused_total", "kind" => kind.name())),
            accepted_of_tenant: of_tenant("Fixes confirmed or refused", &[("outcome", "accepted")]),
            refused_of_tenant: of_tenant("Fixes confirmed or refused", &[("outcome", "refused")]),
            tenants,
        }
    }

    pub fn refused(&self, kind: Kind) {
        self.refused[kind as usize].increment(1);
    }

    /// A request of someone who is known.
    pub fn requested(&self, tenant: &TenantInfo, endpoint: Endpoint) {
        let handle: TenantHandle = self.tenants.tenant(tenant.id.as_u128(), &tenant.slug);
        handle.add(self.requests[endpoint as usize], 1);
    }

    /// Of a batch that is durable.
    pub fn confirmed(&self, tenant: &TenantInfo, accepted: usize, refused: usize) {
        let handle: TenantHandle = self.tenants.tenant(tenant.id.as_u128(), &tenant.slug);
        handle.add(self.accepted_of_tenant, accepted as u64);
        if refused > 0 {
            handle.add(self.refused_of_tenant, refused as u64);
        }
    }
}
