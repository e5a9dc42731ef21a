//! Registering a tenant by a name and its hosts alone, for programs that know no more of one.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{TenantNew, checked};
use crate::Control;
use crate::api::hosts::HostView;
use crate::caller::Operator;
use crate::error::ApiResult;
use crate::json::{Json, answer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantRegistration {
    /// The name that it is known by, which is its slug from then on.
    tenant_id: String,
    /// Names under which it will be reached, once each is proved.
    hosts: Vec<String>,
    /// The name of its database: one of `store.shards`, or `main`;
    /// fixed from then on. Else the rules there choose.
    database: Option<String>,
    /// One of `log.topic_sets`, whose topics are this tenant's alone, with those below it; fixed
    /// from then on. Else it shares the topics of most tenants.
    topics: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantRegistered {
    /// The id that never changes, as everywhere.
    tenant_id: String,
    slug: String,
    hosts: Vec<HostView>,
}

#[utoipa::path(post, path = "/admin/tenants", tag = "operator", request_body = TenantRegistration,
    description = "Creates a tenant with its hosts: all of it or nothing.",
    responses((status = 201, body = TenantRegistered), (status = 403, description = "A host is the platform's"),
        (status = 409, description = "The slug is taken or reserved, a host named twice, the database or the topics another tenant's, or authentication is off"),
        (status = 422), (status = 503, description = "The tenant's database or topics do not answer; nothing was created")))]
pub(crate) async fn register(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(asked): Json<TenantRegistration>,
) -> ApiResult<Response> {
    let new = TenantNew {
        database: asked.database,
        topics: asked.topics,
        ..TenantNew::plain(asked.tenant_id, asked.hosts)
    };
    let founding = checked(&control, new)?;
    let (tenant, hosts) = founding.carry_out(&control, &operator).await?;
    let registered = TenantRegistered {
        tenant_id: tenant.id.to_string(),
        slug: tenant.body.slug,
        hosts: hosts.into_iter().map(HostView::from).collect(),
    };
    Ok(answer(StatusCode::CREATED, &registered))
}
