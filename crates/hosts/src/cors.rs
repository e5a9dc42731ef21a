//! Requests of browsers' pages from other origins (CORS): answered for the tenant that a request
//! belongs to, and for no other.
//!
//! A page reads an answer where the tenant of the request's credentials names its origin, or,
//! without any that are valid, the tenant that the host or the path names. A preflight carries no
//! credentials: where nothing names a tenant, it is enough that any tenant names the origin, since
//! it opens nothing; what comes of the request itself is decided by its credentials. Nothing here
//! lets a browser send what it keeps for a site (`Access-Control-Allow-Credentials`).

use std::sync::{Arc, OnceLock};

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use laneway_directory::Directory;
use laneway_runtime::Problem;
use laneway_runtime::http::Body;
use laneway_runtime::http::body::empty;
use laneway_tenancy::{Claim, TenantId};

use crate::Named;
use crate::names::authority;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, if-match, idempotency-key, last-event-id",
);
const EXPOSED: HeaderValue =
    HeaderValue::from_static("etag, retry-after, idempotency-replayed, x-request-id");

/// An extension of requests that a page sends: where it is from, and whose credentials they have,
/// once that is known.
#[derive(Debug)]
pub(crate) struct Asker {
    origin: HeaderValue,
    /// Whether the page is from the host that it asks.
    own: bool,
    tenant: OnceLock<TenantId>,
}

impl Asker {
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let origin = request.headers().get(ORIGIN)?.clone();
        let host = authority(request.uri(), request.headers());
        let own = host.ok().flatten().is_some_and(|host| {
            let scheme_and_host = origin.to_str().ok().and_then(|o| o.split_once("://"));
            scheme_and_host.is_some_and(|(_, from)| from.as_bytes().eq_ignore_ascii_case(host))
        });
        Some(Asker {
            origin,
            own,
            tenant: OnceLock::new(),
        })
    }

    pub(crate) fn is(&self, tenant: TenantId) {
        // It is the same, however often it is said.
        let _ = self.tenant.set(tenant);
    }

    /// Whether the page is the server's own.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// `None` for what can be nobody's.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.origin.to_str().ok()
    }
}

/// The refusal of a page.
pub(crate) fn origin_not_allowed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "origin-not-allowed",
        "Pages of this origin may not call",
        "The tenant names the origins of its pages in its option cors_origins.",
    )
}

/// A request with an `Origin`.
pub(crate) struct CrossOrigin {
    claim: Claim,
    asker: Arc<Asker>,
}

impl CrossOrigin {
    /// Takes note of a request with an `Origin`, once what it names is known.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        let asker = Arc::new(Asker::of(request)?);
        let named = request.extensions().get::<Named>();
        let claim = named.map_or(Claim::Nothing, |named| named.claim);
        request.extensions_mut().insert(asker.clone());
        Some(CrossOrigin { claim, asker })
    }

    /// The answer to a preflight; `None` where the request is none.
    pub(crate) fn preflight<B>(
        &self,
        directory: &Directory,
        request: &Request<B>,
    ) -> Option<Response<Body>> {
        let asks = request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() != Method::OPTIONS || !asks {
            return None;
        }
        if !self.allowed(directory) {
            let mut refused = origin_not_allowed().into_response();
            refused
                .headers_mut()
                .append(VARY, HeaderValue::from_static("origin"));
            return Some(refused);
        }
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        self.mark(directory, &mut response);
        Some(response)
    }

    /// Lets the page read the answer, where it may.
    pub(crate) fn mark<B>(&self, directory: &Directory, response: &mut Response<B>) {
        let allowed = self.allowed(directory);
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("origin"));
        if allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.asker.origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    fn allowed(&self, directory: &Directory) -> bool {
        let Some(origin) = self.asker.origin() else {
            return false;
        };
        let of = |tenant| {
            let found = directory.tenant(tenant);
            found.is_some_and(|tenant| tenant.chain.answers(origin))
        };
        match (self.asker.tenant.get(), self.claim) {
            (Some(tenant), _) => of(*tenant),
            (None, Claim::Tenant(tenant)) => of(tenant),
            (None, Claim::Nothing) => directory.names_origin(origin),
            (None, Claim::Unknown | Claim::Contradiction) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use laneway_schemas::{ControlKind, TenantEvent};
    use laneway_tenancy::Placement;
    use laneway_tenancy::control::TenantBody;

    use super::*;

    /// Two tenants: one names its page, the other any.
    fn directory() -> Directory {
        let directory = Directory::new();
        for (number, origin) in [(1, "https://one.example"), (2, "*")] {
            let id = TenantId::from_u128(number);
            let mut body = TenantBody::plain(format!("t{number}"), Placement::first(id, 1, 4));
            body.options.cors_origins = vec![origin.to_owned()];
            let event = TenantEvent {
                tenant_id: id.to_string(),
                version: 1,
                kind: ControlKind::Tenant,
                id: id.to_string(),
                deleted: false,
                effective_from: 0,
                body: serde_json::to_string(&body).unwrap(),
            };
            directory.apply(&event).unwrap();
        }
        directory
    }

    fn request(method: Method, origin: &str, claim: Claim) -> Request<()> {
        let mut request = Request::builder().method(method).header(ORIGIN, origin);
        request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "PUT");
        let mut request = request.body(()).unwrap();
        if claim != Claim::Nothing {
            let name = "x".into();
            request.extensions_mut().insert(Named {
                claim,
                name,
                moved: None,
            });
        }
        request
    }

    #[test]
    fn a_preflight_is_answered_by_who_is_named_and_else_for_origins_that_somebody_names() {
        let directory = directory();
        let (one, other) = (TenantId::from_u128(1), TenantId::from_u128(2));
        for (claim, origin, status) in [
            (Claim::Tenant(one), "https://one.example", 204),
            (Claim::Tenant(one), "https://two.example", 403),
            (Claim::Tenant(one), "null", 403),
            (Claim::Tenant(other), "https://two.example", 204),
            (Claim::Nothing, "https://one.example", 204),
            (Claim::Nothing, "https://two.example", 403),
            (Claim::Unknown, "https://one.example", 403),
            (Claim::Contradiction, "https://one.example", 403),
        ] {
            let mut request = request(Method::OPTIONS, origin, claim);
            let asked = CrossOrigin::of(&mut request).unwrap();
            let answer = asked.preflight(&directory, &request).unwrap();
            assert_eq!(answer.status().as_u16(), status, "{claim:?} {origin}");
            let allowed = answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN);
            let expected = (status == 204).then_some(origin);
            assert_eq!(allowed.map(|v| v.to_str().unwrap()), expected);
            assert!(
                !answer
                    .headers()
                    .contains_key("access-control-allow-credentials")
            );
            assert_eq!(answer.headers()[VARY], "origin");
        }
    }

    #[test]
    fn an_answer_is_read_by_pages_of_the_tenant_whose_credentials_were_sent() {
        let directory = directory();
        for (tenant, origin, readable) in [
            (1, "https://one.example", true),
            (1, "https://two.example", false),
            (2, "https://two.example", true),
            (3, "https://one.example", false),
        ] {
            let mut request = request(Method::GET, origin, Claim::Nothing);
            let asked = CrossOrigin::of(&mut request).unwrap();
            assert!(asked.preflight(&directory, &request).is_none());
            let asker = request.extensions().get::<Arc<Asker>>().unwrap();
            asker.is(TenantId::from_u128(tenant));
            let mut response = Response::new(());
            asked.mark(&directory, &mut response);
            let allowed = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(allowed.is_some(), readable, "{tenant} {origin}");
        }
    }
}
