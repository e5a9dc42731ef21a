//! Tenants of a tenant: `/tenants/{tenant}/tenants`.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{Grant, TenantScope};

use super::view::{TenantCreated, TenantView};
use super::{TenantNew, checked, prepare_owner};
use crate::Control;
use crate::api::keys::make::PreparedKey;
use crate::api::page::{Page, PageQuery};
use crate::caller::{Manager, Managing, may};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, Params, answer_tagged};

#[utoipa::path(post, path = "/tenants/{tenant}/tenants", tag = "tenants", request_body = TenantNew,
    params(("tenant" = String, Path, description = "The id or slug of the tenant above")),
    responses((status = 201, body = TenantCreated), (status = 403, description = "Not one's own, or as many as there may be"),
        (status = 409, description = "The slug is taken, or the limits are more than what is left"), (status = 422)))]
pub(crate) async fn create(
    managing: Managing,
    control: Arc<Control>,
    Json(new): Json<TenantNew>,
) -> ApiResult<Response> {
    let scope = head(&managing, Grant::TenantsWrite)?;
    let owner = new.owner.clone();
    let (new, now) = checked(&control, new)?;
    let owner = prepare_owner(&control, owner.as_deref(), &new, now)?;
    let family = control.deps.store.family(&scope);
    let tenant = family
        .create_with(new, owner.as_ref().map(PreparedKey::stored), now)
        .await?;
    tracing::info!(tenant = %tenant.id, slug = tenant.body.slug, parent = %scope.tenant(), "a tenant was created below another");
    let version = tenant.version;
    let created = TenantCreated {
        tenant: tenant.into(),
        owner: owner.map(PreparedKey::shown),
    };
    Ok(answer_tagged(StatusCode::CREATED, &created, version))
}

#[utoipa::path(get, path = "/tenants/{tenant}/tenants", tag = "tenants", params(PageQuery,
        ("tenant" = String, Path, description = "The id or slug of the tenant above")),
    responses((status = 200, body = Page<TenantView>), (status = 403)))]
pub(crate) async fn list(
    managing: Managing,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = head(&managing, Grant::TenantsRead)?;
    let found = control
        .deps
        .store
        .family(&scope)
        .list(TenantKind::Tenant, page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(TenantView::from);
    Ok(Page::answer(items, &page, |t| t.id.to_string()))
}

/// The tenant above, as itself or through the operator. What is two levels down is none of its
/// business.
fn head(managing: &Managing, grant: Grant) -> ApiResult<TenantScope> {
    match &managing.by {
        Manager::Operator(operator) => Ok(operator.scope(managing.tenant.id)),
        Manager::Itself(scope) => {
            may(scope, grant)?;
            Ok(scope.clone())
        }
        Manager::Above(_) => Err(ApiError::conflict(
            "A tenant of a tenant has no tenants below it.",
        )),
    }
}
