//! Destinations of a tenant.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use laneway_store::{Destination, NewDestination};
use laneway_tenancy::control::{DestinationBody, DestinationState};
use laneway_tenancy::{DestinationId, Grant, Random, TenantScope, new_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, time};
use super::wanted;
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, In, Json, Params, answer_tagged};

const MAX_URL: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KindView {
    Webhook,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationNew {
    /// `webhook`.
    kind: KindView,
    /// Where events are posted.
    url: String,
    /// Event types it wants; all where empty.
    #[serde(default)]
    event_types: Vec<String>,
    /// Devices it wants; all where empty.
    #[serde(default)]
    devices: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DestinationStateView {
    Active,
    Disabled,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationChange {
    state: DestinationStateView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestinationView {
    #[schema(value_type = String)]
    id: DestinationId,
    kind: String,
    url: String,
    event_types: Vec<String>,
    devices: Vec<String>,
    state: DestinationStateView,
    created_at: String,
    /// The signing secret (Standard Webhooks), shown once, when it is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl DestinationView {
    fn new(destination: Destination, secret: Option<String>) -> Self {
        let body = destination.body;
        DestinationView {
            id: destination.id,
            kind: body.kind,
            url: destination.url,
            event_types: body.event_types,
            devices: body.devices,
            state: state(body.state),
            created_at: time(body.created_at),
            secret,
        }
    }
}

fn shown(status: StatusCode, destination: Destination, secret: Option<String>) -> Response {
    let version = destination.version;
    answer_tagged(status, &DestinationView::new(destination, secret), version)
}

pub(crate) fn state(state: DestinationState) -> DestinationStateView {
    match state {
        DestinationState::Active => DestinationStateView::Active,
        DestinationState::Disabled => DestinationStateView::Disabled,
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct DestinationPath {
    destination: DestinationId,
}

/// The tenant's destination that the path names.
pub(crate) async fn found(
    control: &Control,
    scope: &TenantScope,
    path: DestinationPath,
) -> ApiResult<Destination> {
    let destinations = control.deps.store.destinations(scope);
    let found = destinations.find(path.destination).await?;
    found.ok_or_else(ApiError::not_found)
}

#[utoipa::path(post, path = "/destinations", tag = "destinations", request_body = DestinationNew,
    responses((status = 201, body = DestinationView),
        (status = 403, description = "The tenant has as many as it may, or the key lacks the grant"), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<DestinationNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsWrite)?;
    let deps = &control.deps;
    let KindView::Webhook = new.kind;
    check_url(&new.url, deps.settings.allow_plain_http)?;
    wanted::check(&new.event_types, &new.devices)?;
    let now = deps.clock.now_us();
    let secret = signing_secret(&*deps.random);
    let created = NewDestination {
        id: DestinationId::from_u128(new_id(&*deps.random, now)),
        body: DestinationBody {
            kind: "webhook".to_owned(),
            state: DestinationState::Active,
            event_types: new.event_types,
            devices: new.devices,
            created_at: now,
        },
        url: new.url,
        secret: secret.clone(),
    };
    let destination = deps.store.destinations(scope).create(created).await?;
    Ok(shown(StatusCode::CREATED, destination, Some(secret)))
}

#[utoipa::path(get, path = "/destinations", tag = "destinations", params(PageQuery),
    responses((status = 200, body = Page<DestinationView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsRead)?;
    let found = control
        .deps
        .store
        .destinations(scope)
        .list(page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(|d| DestinationView::new(d, None));
    Ok(Page::answer(items, &page, |d| d.id.to_string()))
}

#[utoipa::path(get, path = "/destinations/{destination}", tag = "destinations", params(("destination" = String, Path)),
    responses((status = 200, body = DestinationView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DestinationPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsRead)?;
    let found = found(&control, scope, path).await?;
    Ok(shown(StatusCode::OK, found, None))
}

#[utoipa::path(patch, path = "/destinations/{destination}", tag = "destinations",
    params(("destination" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that it was read with")),
    request_body = DestinationChange,
    responses((status = 200, body = DestinationView), (status = 404), (status = 412, description = "It has changed meanwhile")))]
pub(crate) async fn change(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DestinationPath>,
    IfMatch(expected): IfMatch,
    Json(new): Json<DestinationChange>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsWrite)?;
    let state = match new.state {
        DestinationStateView::Active => DestinationState::Active,
        DestinationStateView::Disabled => DestinationState::Disabled,
    };
    let now = control.deps.clock.now_us();
    let changed = control
        .deps
        .store
        .destinations(scope)
        .set_state(path.destination, expected, state, now)
        .await?;
    Ok(shown(StatusCode::OK, changed, None))
}

#[utoipa::path(delete, path = "/destinations/{destination}", tag = "destinations", params(("destination" = String, Path)),
    responses((status = 204), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DestinationPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::DestinationsWrite)?;
    control
        .deps
        .store
        .destinations(scope)
        .delete(path.destination, control.deps.clock.now_us())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Standard Webhooks: `whsec_` and 32 random bytes in base 64.
fn signing_secret(random: &dyn Random) -> String {
    let mut bytes = [0u8; 32];
    random.fill(&mut bytes);
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// Form only: whether the address may be reached is checked each time a connection is made.
fn check_url(url: &str, allow_plain_http: bool) -> ApiResult<()> {
    let invalid = |why: &str| Err(ApiError::invalid(format!("url: {why}.")));
    if url.len() > MAX_URL {
        return invalid("at most 2048 bytes");
    }
    let Ok(uri) = url.parse::<http::Uri>() else {
        return invalid("it is no address");
    };
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if allow_plain_http => {}
        _ => return invalid("it must begin with https://"),
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            invalid("user names and passwords do not belong in it")
        }
        Some(authority) if authority.host().is_empty() => invalid("it names no host"),
        Some(_) if url.contains('#') => invalid("it must have no fragment"),
        Some(_) => Ok(()),
        None => invalid("it names no host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_addresses_are_taken() {
        assert!(check_url("https://example.com/hook?x=1", false).is_ok());
        assert!(check_url("https://example.com:8443/", false).is_ok());
        assert!(check_url("http://example.com/", false).is_err());
        assert!(check_url("http://example.com/", true).is_ok());
        for bad in [
            "",
            "example.com",
            "ftp://x/",
            "https://",
            "https://u:p@x/",
            "https://x/#f",
            "file:///etc/passwd",
        ] {
            assert!(check_url(bad, true).is_err(), "{bad}");
        }
    }
}
