//! What the operator's machinery asks: health, and on its own listener only, metrics.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;

use super::{Body, Peer, Service, body};
use crate::health::Status;
use crate::tenants::TenantMetrics;
use crate::{Health, Lifecycle, Problem};

/// `GET /health/live`, `/health/ready`: for any listener. Reasons are left out.
pub struct HealthService {
    health: Health,
    lifecycle: Lifecycle,
}

impl HealthService {
    pub fn new(health: Health, lifecycle: Lifecycle) -> Arc<Self> {
        Arc::new(HealthService { health, lifecycle })
    }

    fn answer(&self, path: &str, with_reasons: bool) -> Response<Body> {
        match path {
            "/health/live" => body::json(StatusCode::OK, &serde_json::json!({"status": "ok"})),
            "/health" | "/health/ready" if self.lifecycle.is_draining() => body::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &serde_json::json!({"status": "draining", "checks": []}),
            ),
            "/health" | "/health/ready" => {
                let report = self.health.report();
                let code = match report.status {
                    Status::Ok | Status::Degraded => StatusCode::OK,
                    Status::Failing => StatusCode::SERVICE_UNAVAILABLE,
                };
                body::json(
                    code,
                    &if with_reasons {
                        report
                    } else {
                        report.without_reasons()
                    },
                )
            }
            _ => Problem::not_found().into_response(),
        }
    }
}

impl Service for HealthService {
    fn call(&self, request: Request<Incoming>, _peer: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(std::future::ready(only_get(&request, |path| {
            self.answer(path, false)
        })))
    }
}

/// Health with reasons, and `GET /metrics` in Prometheus' text format. Metrics tell tenants
/// apart: this belongs on the operator's listener.
pub struct OpsService {
    health: Arc<HealthService>,
    metrics: PrometheusHandle,
    tenants: Arc<TenantMetrics>,
}

impl OpsService {
    pub fn new(
        health: Arc<HealthService>,
        metrics: PrometheusHandle,
        tenants: Arc<TenantMetrics>,
    ) -> Arc<Self> {
        Arc::new(OpsService {
            health,
            metrics,
            tenants,
        })
    }
}

impl Service for OpsService {
    fn call(&self, request: Request<Incoming>, _peer: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(std::future::ready(only_get(&request, |path| match path {
            "/metrics" => {
                let mut text = self.metrics.render();
                self.tenants.render(&mut text);
                body::with_type(StatusCode::OK, "text/plain; version=0.0.4", text)
            }
            path => self.health.answer(path, true),
        })))
    }
}

fn only_get<T>(
    request: &Request<T>,
    answer: impl FnOnce(&str) -> Response<Body>,
) -> Response<Body> {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        answer(request.uri().path())
    } else {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Only GET is answered here",
            "",
        )
        .into_response()
    }
}
