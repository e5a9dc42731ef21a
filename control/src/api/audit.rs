//! The audit trail of a tenant: by page for people, whole for those who verify it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use laneway_store::audit::{AuditEntry, AuditQuery, Opened, Salted};
use laneway_store::{Store, StoreError};
use laneway_tenancy::{Grant, Principal, TenantScope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{Params, answer};

const MOST: u32 = 1000;
/// Entries that are read at a time for an export.
const PAGE: u32 = 500;
const JSON_LINES: &str = "application/x-ndjson";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditParams {
    /// Goes on after this number: `next` of the page before.
    after: Option<i64>,
    /// At most so many, up to 1000; 100 where it is not said.
    limit: Option<u32>,
    /// Entries of this time (RFC 3339) or later.
    since: Option<String>,
    /// Entries before this time.
    until: Option<String>,
    /// Entries of this action, such as `POST /devices`.
    action: Option<String>,
    /// Entries of this principal, such as `key:key_…`.
    principal: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// Counts the entries of the tenant, from 1.
    seq: i64,
    at: String,
    /// Method and route, such as `POST /devices/{device}/credentials`; `change` where no request
    /// asked for it.
    action: String,
    /// The parameters of the route.
    target: String,
    /// `done` for a change, `begun` for what goes on outside of the database, or the status of
    /// the answer and the kind of the problem.
    outcome: String,
    /// `key:…`, `device:…`, `operator` or `role:…`.
    principal: String,
    /// The tenant that the principal belongs to; empty for the operator.
    principal_tenant: String,
    /// The tenant that the request was about, as it was named where it was refused.
    request_tenant: String,
    request_id: String,
    /// How often; refusals that are alike are counted for a minute.
    count: i64,
    first_at: String,
    last_at: String,
    /// What was changed.
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
    /// From where; left out where it is erased or somebody else's.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    hash: String,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let facts = entry.facts;
        let value = |salted: Option<Salted>| salted.map(|salted| salted.value);
        AuditView {
            seq: entry.seq,
            at: time(facts.at),
            action: facts.action,
            target: facts.target,
            outcome: facts.outcome,
            principal: facts.principal,
            principal_tenant: facts.principal_tenant,
            request_tenant: facts.request_tenant,
            request_id: facts.request_id,
            count: facts.count,
            first_at: time(facts.first_at),
            last_at: time(facts.last_at),
            detail: serde_json::from_str(&facts.detail).unwrap_or_default(),
            address: value(entry.personal.address),
            user_agent: value(entry.personal.user_agent),
            name: value(entry.personal.name),
            hash: entry.hash,
        }
    }
}

#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditParams),
    responses((status = 200, body = Page<AuditView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(asked): Params<AuditParams>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::AuditRead)?;
    let query = AuditQuery {
        after: asked.after.unwrap_or(0),
        since: moment("since", asked.since.as_deref())?,
        until: moment("until", asked.until.as_deref())?,
        action: asked.action.unwrap_or_default(),
        principal: asked.principal.unwrap_or_default(),
        limit: asked.limit.unwrap_or(100).clamp(1, MOST),
    };
    let mut found = control.deps.store.audit(scope).list(&query).await?;
    found.iter_mut().for_each(|entry| show(entry, scope));
    let full = found.len() == query.limit as usize;
    let next = found.last().filter(|_| full).map(|e| e.seq.to_string());
    let items: Vec<AuditView> = found.into_iter().map(AuditView::from).collect();
    Ok(answer(StatusCode::OK, &Page { items, next }))
}

/// Every entry, a line of JSON each, with all that is needed to verify the chain.
#[utoipa::path(get, path = "/audit/export", tag = "audit",
    responses((status = 200, description = "JSON lines (docs/audit.md)", content_type = "application/x-ndjson", body = String)))]
pub(crate) async fn export(acting: Acting, control: Arc<Control>) -> ApiResult<Response> {
    let scope = acting.may(Grant::AuditRead)?.clone();
    let store = control.deps.store.clone();
    // The first page is read before anything is answered, so that trouble has a status.
    let first = lines(&store, &scope, 0).await?;
    let pages = stream::try_unfold(Some(first), move |page| {
        let (store, scope) = (store.clone(), scope.clone());
        async move {
            let Some((bytes, last)) = page else {
                return Ok::<_, StoreError>(None);
            };
            let next = match last {
                Some(last) => Some(lines(&store, &scope, last).await?),
                None => None,
            };
            Ok(Some((bytes, next)))
        }
    });
    let mut response = Response::new(Body::from_stream(pages));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    Ok(response)
}

/// A page of lines, and the number to go on after where there may be more.
async fn lines(
    store: &Store,
    scope: &TenantScope,
    after: i64,
) -> Result<(Bytes, Option<i64>), StoreError> {
    let query = AuditQuery {
        after,
        limit: PAGE,
        ..AuditQuery::default()
    };
    let mut found = store.audit(scope).list(&query).await?;
    let mut out = Vec::with_capacity(found.len() * 1024);
    for entry in &mut found {
        show(entry, scope);
        if let Err(error) = serde_json::to_writer(&mut out, entry) {
            return Err(StoreError::Unavailable {
                doing: "exporting an audit trail",
                reason: error.to_string(),
            });
        }
        out.push(b'\n');
    }
    let full = found.len() == PAGE as usize;
    let last = found.last().filter(|_| full).map(|entry| entry.seq);
    Ok((out.into(), last))
}

/// A tenant sees where its own people came from, not where the operator's did.
fn show(entry: &mut AuditEntry, scope: &TenantScope) {
    let operator = *scope.principal() == Principal::Operator;
    if !operator && entry.facts.principal_tenant != scope.tenant().to_string() {
        entry.personal = Opened::default();
    }
}

fn moment(name: &str, text: Option<&str>) -> ApiResult<Option<i64>> {
    let parse = |text: &str| {
        text.parse::<jiff::Timestamp>()
            .map(|time| time.as_microsecond())
            .map_err(|error| ApiError::invalid(format!("{name}: {error}.")))
    };
    text.map(parse).transpose()
}
