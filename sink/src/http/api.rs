//! The API's description. The messages themselves are in `docs/stream.md`.

use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

/// The description, as `docs/openapi/sink.json` has it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Laneway sink", description = "A tenant's events, live and from history."),
    paths(stream),
    components(schemas(Problem)),
    modifiers(&Credentials)
)]
struct Api;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(
            "key",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    }
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: Option<String>,
}

#[utoipa::path(
    get,
    path = "/stream",
    description = "The tenant's events as CloudEvents: over a websocket (`Upgrade: websocket`), or as server-sent events (`Accept: text/event-stream`). Needs a key with the grant `stream:read`; a tenant's key reads its namespaces at `/t/{namespace}/stream`.",
    params(
        ("event_types" = Option<String>, Query, description = "Event types, comma-separated; all without it"),
        ("devices" = Option<String>, Query, description = "Devices, comma-separated, at most 1000; all without it"),
        ("from" = Option<String>, Query, description = "`live` (the default), `earliest`, a token, or a time (RFC 3339)"),
        ("grant" = Option<String>, Query, description = "The grant by which a partner reads"),
        ("Last-Event-ID" = Option<String>, Header, description = "Server-sent events: resumes after the event with this id"),
    ),
    responses(
        (status = 101, description = "A websocket; its messages are JSON"),
        (status = 200, description = "Server-sent events; `id` is a token for all lanes", content_type = "text/event-stream", body = String),
        (status = 400, description = "The query cannot be understood, or a partner names no grant (`bad-request`)", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The key is missing or not valid (`unauthorized`)", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The key has not the grant, or the token is not this tenant's (`forbidden`); the tenant is not active (`tenant-inactive`); the grant has expired or its tenant is not active (`grant-inactive`); the host or the path names another tenant, whether or not there is one (`tenant-mismatch`); the tenant does not take its credentials from there (`address-not-allowed`)", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Without credentials, the host or the path names a tenant that there is not (`tenant-not-found`); there is no such grant for this key (`grant-not-found`)", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The position is no longer retained (`position-expired`)", body = Problem, content_type = "application/problem+json"),
        (status = 426, description = "Neither a websocket nor an event stream was asked for (`upgrade-required`)", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many connections or failures (`too-many-connections`, `too-many-failures`)", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again later (`unavailable`)", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
#[expect(dead_code, reason = "describes the route, which is served by hand")]
fn stream() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_description_is_not_stale() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/sink.json");
        let described = openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&path, &described).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == described,
            "docs/openapi/sink.json is stale; run `UPDATE_OPENAPI=1 cargo test -p laneway-sink --lib`"
        );
    }
}
