//! Namespaces of a tenant: its projects, and their environments. Each is isolated like a tenant,
//! and worked in by the tenant's own keys, at `/tenants/{namespace}/…` or `/t/{namespace}/…`.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::NewTenant;
use laneway_tenancy::control::{Limits, TenantKind};
use laneway_tenancy::slug::{self, SlugError};
use laneway_tenancy::{Grant, TenantId, new_id};
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::TenantView;
use super::{placement, view};
use crate::Control;
use crate::api::limits::LimitsView;
use crate::api::page::{Page, PageQuery};
use crate::caller::{Acting, takes_authentication};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, Params, answer_tagged};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamespaceNew {
    /// 2 to 40 of a–z, 0–9 and single hyphens, beginning with a letter; unique within the tenant.
    project: String,
    /// `dev`, `staging` or `production`; without one, the namespace is the project's own.
    environment: Option<String>,
    /// What people call it: at most 100 characters.
    #[serde(default)]
    name: String,
    /// How many partitions its records may use; fixed from then on.
    lanes: Option<u32>,
    /// Of the tenant's own; needed where those are limited.
    limits: Option<LimitsView>,
}

#[utoipa::path(post, path = "/namespaces", tag = "tenants", request_body = NamespaceNew,
    responses((status = 201, body = TenantView), (status = 403), (status = 409), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<NamespaceNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantsWrite)?;
    takes_authentication(&control)?;
    let slug = slug::of_namespace(&acting.slug, &new.project, new.environment.as_deref()).map_err(
        |error| {
            let field = match error {
                SlugError::Environment => "environment",
                _ => "project",
            };
            ApiError::invalid(format!("{field}: {error}."))
        },
    )?;
    view::check_name(&new.name)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let id = TenantId::from_u128(new_id(&*deps.random, now));
    let new = NewTenant {
        kind: TenantKind::Namespace,
        name: new.name,
        limits: new.limits.map_or_else(Limits::default, Limits::from),
        ..NewTenant::plain(id, slug, placement(&control, id, new.lanes)?)
    };
    let created = deps.store.family(scope).create(new, now).await?;
    let version = created.version;
    Ok(answer_tagged(
        StatusCode::CREATED,
        &TenantView::from(created),
        version,
    ))
}

#[utoipa::path(get, path = "/namespaces", tag = "tenants", params(PageQuery),
    responses((status = 200, body = Page<TenantView>), (status = 403)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantsRead)?;
    let found = control
        .deps
        .store
        .family(scope)
        .list(TenantKind::Namespace, page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(TenantView::from);
    Ok(Page::answer(items, &page, |t| t.id.to_string()))
}
