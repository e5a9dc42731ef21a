//! Tenants of a tenant: `/tenants/{tenant}/tenants`.

use std::sync::Arc;

use axum::response::Response;
use laneway_runtime::Problem;
use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{Grant, TenantScope};

use super::view::{TenantCreated, TenantView};
use super::{TenantNew, checked, created};
use crate::Control;
use crate::api::page::{Page, PageQuery};
use crate::caller::{Manager, Managing, may};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, Params};

#[utoipa::path(post, path = "/tenants/{tenant}/tenants", tag = "tenants", request_body = TenantNew,
    params(("tenant" = String, Path, description = "The id or slug of the tenant above")),
    responses((status = 201, body = TenantCreated), (status = 403, description = "Not one's own, or as many as there may be"),
        (status = 409, description = "The slug is taken, the limits are more than what is left, or authentication is off"), (status = 422)))]
pub(crate) async fn create(
    managing: Managing,
    control: Arc<Control>,
    Json(new): Json<TenantNew>,
) -> ApiResult<Response> {
    let scope = head(&managing, Grant::TenantsWrite)?;
    let by_operator = managing.is_operator();
    if new.database.is_some() && !by_operator {
        return Err(Problem::forbidden("Only the operator chooses a database.").into());
    }
    if new.topics.is_some() {
        return Err(ApiError::invalid(
            "topics: those of the tenant above are its own.",
        ));
    }
    let founding = checked(&control, new)?;
    let (new, now) = (founding.new.clone(), founding.now);
    let family = control.deps.store.family(&scope);
    let (tenant, hosts) = family.create_with(new, founding.first(), now).await?;
    Ok(created(tenant, founding.owner, hosts, by_operator))
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
    let by_operator = managing.is_operator();
    let items = found.into_iter();
    let items = items.map(|tenant| TenantView::seen_by(tenant, by_operator));
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
