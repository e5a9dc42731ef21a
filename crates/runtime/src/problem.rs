//! Errors as RFC 9457 problem details.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use crate::http::Body;

pub(crate) const TENANT_MISMATCH: &str = "tenant-mismatch";

/// A refusal. `kind` is stable: clients decide by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// The last part of the type URI: `https://laneway.dev/problems/<kind>`.
    pub kind: &'static str,
    pub title: &'static str,
    pub detail: String,
    /// Sent as `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Sent as `Location`.
    pub location: Option<Arc<str>>,
}

/// The kind of the problem that a response tells of, among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemKind(pub &'static str);

impl Problem {
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Problem {
            status,
            kind,
            title,
            detail: detail.into(),
            retry_after: None,
            location: None,
        }
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request cannot be understood",
            detail,
        )
    }

    pub fn unauthorized() -> Self {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "The credentials are missing or not valid",
            "Send a bearer token, or HTTP basic credentials as device@tenant.",
        )
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "The credentials do not allow this",
            detail,
        )
    }

    /// Another tenant than that of the credentials is named: the same for one that exists and one
    /// that does not, and answered by listeners at moments that do not depend on it.
    pub fn tenant_mismatch() -> Self {
        Problem::new(
            StatusCode::FORBIDDEN,
            TENANT_MISMATCH,
            "The credentials belong to another tenant",
            "",
        )
    }

    pub fn not_found() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing here",
            "",
        )
    }

    /// To the same thing, which goes by another name now.
    pub fn renamed(location: Arc<str>) -> Self {
        let mut problem = Problem::new(
            StatusCode::PERMANENT_REDIRECT,
            "tenant-renamed",
            "The tenant goes by another name now",
            "Ask there; the name before is kept for a while only.",
        );
        problem.location = Some(location);
        problem
    }

    /// Nothing that is named belongs to a tenant, and nobody is known who asks.
    pub fn tenant_not_found() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "tenant-not-found",
            "There is no such tenant",
            "Nobody has the host or the path that the request names; check the address.",
        )
    }

    /// To a tenant's own credentials alone.
    pub fn tenant_inactive() -> Self {
        Problem::new(
            StatusCode::FORBIDDEN,
            "tenant-inactive",
            "The tenant is not active",
            "Ask the operator of the platform.",
        )
    }

    /// Backend trouble: 503 with `Retry-After`.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Try again later",
            detail,
        )
        .retry_after(1)
    }

    pub fn to_json(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "type": format!("https://laneway.dev/problems/{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
        });
        if !self.detail.is_empty() {
            body["detail"] = self.detail.clone().into();
        }
        body
    }

    pub fn into_response(self) -> Response<Body> {
        let body = Bytes::from(self.to_json().to_string());
        let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(ProblemKind(self.kind));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let location = self.location.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(location)) = location {
            headers.insert(header::LOCATION, location);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer, Basic realm=\"laneway\""),
            );
        }
        response
    }
}

impl axum::response::IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        Problem::into_response(self).map(axum::body::Body::new)
    }
}
