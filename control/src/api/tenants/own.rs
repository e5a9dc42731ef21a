//! What a caller may know of its own tenant: `GET /tenant`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_tenancy::Grant;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::TenantView;
use crate::Control;
use crate::api::hosts::HostView;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::answer_tagged;

/// Of what there is a list of its own for.
const MOST: u32 = 100;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnTenant {
    #[serde(flatten)]
    tenant: TenantView,
    tenant_id: String,
    /// Its hosts, live ones and others: at most 100 of them.
    hosts: Vec<HostView>,
    /// Its values by name, as `/config` has them: at most 100 of them.
    #[schema(value_type = std::collections::BTreeMap<String, Object>)]
    config: BTreeMap<String, serde_json::Value>,
}

#[utoipa::path(get, path = "/tenant", tag = "tenants", responses((status = 200, body = OwnTenant), (status = 403)))]
pub(crate) async fn find(acting: Acting, control: Arc<Control>) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantRead)?;
    let store = &control.deps.store;
    let tenant = store
        .family(scope)
        .head()
        .await?
        .ok_or_else(ApiError::not_found)?;
    let config = store.config(scope).list(None, MOST).await?;
    let hosts = store.hosts(scope).list(None, MOST).await?;
    let version = tenant.version;
    let own = OwnTenant {
        tenant_id: tenant.id.to_string(),
        tenant: tenant.into(),
        hosts: hosts.into_iter().map(HostView::from).collect(),
        config: config.into_iter().map(|e| (e.key, e.value)).collect(),
    };
    Ok(answer_tagged(StatusCode::OK, &own, version))
}
