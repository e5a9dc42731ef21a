//! How far the closing of a tenant is, and what went when: `GET /tenants/{tenant}/closure`.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{Grant, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Control;
use crate::api::page::time;
use crate::caller::Managing;
use crate::error::{ApiError, ApiResult};
use crate::json::answer;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClosureView {
    #[schema(value_type = String)]
    tenant_id: TenantId,
    begun_at: String,
    /// What is done, in that order. Before any rows go, all that the tenant had sent is waited for:
    /// until then it would write more.
    erased: Vec<ErasedView>,
    /// Since then nothing is left of it but its name, its audit trail without personal data, its
    /// usage by day, and what is in the topics below.
    closed_at: Option<String>,
    /// Until when events that were accepted before may still be in the shared topics, which
    /// nobody but the operator reads.
    topics_until: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasedView {
    /// `destinations`, `grants` to it, `rows` of the database, or keys of a compacted topic by its name.
    /// Of `accepted` nothing goes: since then all that the tenant had sent has been processed; nor of
    /// `derived`: what came of it has been written.
    what: String,
    count: u64,
    at: String,
}

#[utoipa::path(get, path = "/tenants/{tenant}/closure", tag = "tenants",
    params(("tenant" = String, Path, description = "Its id or its slug")),
    responses((status = 200, body = ClosureView), (status = 403), (status = 404, description = "It is not being closed")))]
pub(crate) async fn find(managing: Managing, control: Arc<Control>) -> ApiResult<Response> {
    managing.may(Grant::TenantOwn, Grant::TenantsRead)?;
    let deps = &control.deps;
    let scope = RoleAuthority::scope(&deps.authority, managing.tenant.id);
    let closure = deps
        .store
        .closure(&scope)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let view = ClosureView {
        tenant_id: closure.tenant,
        begun_at: time(closure.begun_at),
        erased: closure
            .done
            .into_iter()
            .map(|step| ErasedView {
                what: step.what,
                count: step.count,
                at: time(step.at),
            })
            .collect(),
        closed_at: closure.closed_at.map(time),
        topics_until: closure
            .closed_at
            .and_then(|at| retained_until(&control, at)),
    };
    Ok(answer(StatusCode::OK, &view))
}

/// When what was written to the shared topics by `at` has gone from them; none where they keep
/// it by size alone.
pub(crate) fn retained_until(control: &Control, at: i64) -> Option<String> {
    let seconds = control.deps.settings.retention_seconds;
    let retention_us = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(0);
    (retention_us > 0).then(|| time(at.saturating_add(retention_us)))
}
