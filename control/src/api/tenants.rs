//! Tenants, for the operator.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_log::Topic;
use laneway_store::{NewTenant, Tenant};
use laneway_tenancy::control::{Limits, TenantState};
use laneway_tenancy::slug::{self, SlugError};
use laneway_tenancy::{ChangeKind, Placement, TenantId, new_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limits::LimitsView;
use super::page::{Page, PageQuery, time};
use crate::caller::{Operator, find_tenant};
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, Params, answer};
use crate::{Control, PLATFORM_SLUG};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantNew {
    /// 2 to 40 of a–z, 0–9 and single hyphens, beginning with a letter.
    slug: String,
    /// How many partitions its records may use; fixed from then on.
    lanes: Option<u32>,
    limits: Option<LimitsView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateView {
    Active,
    Suspended,
    Closing,
    Closed,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateNew {
    state: StateView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantView {
    #[schema(value_type = String, example = "ten_01k8r2q4s0f7v9w3x5y6z7a8b9")]
    id: TenantId,
    slug: String,
    state: StateView,
    limits: LimitsView,
    /// The partitions that its records use.
    lanes: Vec<u32>,
    /// Counts the changes to the tenant and all that belongs to it.
    control_version: i64,
    created_at: String,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let limits = tenant.body.limits;
        TenantView {
            id: tenant.id,
            slug: tenant.body.slug,
            state: view(tenant.body.state),
            limits: limits.into(),
            lanes: tenant.body.placement.lanes,
            control_version: tenant.control_version,
            created_at: time(tenant.created_at),
        }
    }
}

fn view(state: TenantState) -> StateView {
    match state {
        TenantState::Active => StateView::Active,
        TenantState::Suspended => StateView::Suspended,
        TenantState::Closing => StateView::Closing,
        TenantState::Closed => StateView::Closed,
    }
}

#[utoipa::path(post, path = "/tenants", tag = "operator", request_body = TenantNew, responses(
    (status = 201, body = TenantView), (status = 409, description = "The slug is taken"),
    (status = 422, description = "Not valid")))]
pub(crate) async fn create(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(new): Json<TenantNew>,
) -> ApiResult<Response> {
    check_slug(&new.slug)?;
    let deps = &control.deps;
    let partitions = deps.log.partitions(Topic::LocationUpdates);
    let lanes = new
        .lanes
        .unwrap_or(deps.settings.default_lanes.min(partitions));
    if lanes == 0 || lanes > partitions {
        return Err(ApiError::invalid(format!("lanes: 1 to {partitions}.")));
    }
    let now = deps.clock.now_us();
    let id = TenantId::from_u128(new_id(&*deps.random, now));
    let created = NewTenant {
        limits: new.limits.map_or_else(Limits::default, Limits::from),
        ..NewTenant::plain(id, new.slug, Placement::first(id, lanes, partitions))
    };
    let tenant = deps.store.tenants(&operator).create(created, now).await?;
    tracing::info!(tenant = %tenant.id, slug = tenant.body.slug, "a tenant was created");
    Ok(answer(StatusCode::CREATED, &TenantView::from(tenant)))
}

fn check_slug(text: &str) -> ApiResult<()> {
    slug::check(text).map_err(|error| {
        let detail = format!("slug: {error}.");
        match error {
            SlugError::Reserved => ApiError::conflict(detail),
            _ => ApiError::invalid(detail),
        }
    })
}

#[utoipa::path(get, path = "/tenants", tag = "operator", params(PageQuery),
    responses((status = 200, body = Page<TenantView>)))]
pub(crate) async fn list(
    Operator(operator): Operator,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let found = control
        .deps
        .store
        .tenants(&operator)
        .list(page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(TenantView::from);
    Ok(Page::answer(items, &page, |t| t.id.to_string()))
}

#[utoipa::path(get, path = "/tenants/{tenant}", tag = "operator",
    params(("tenant" = String, Path, description = "Its id or its slug")),
    responses((status = 200, body = TenantView), (status = 404)))]
pub(crate) async fn find(
    Operator(operator): Operator,
    control: Arc<Control>,
    In(name): In<String>,
) -> ApiResult<Response> {
    let tenant = find_tenant(&control, &operator, &name).await?;
    Ok(answer(StatusCode::OK, &TenantView::from(tenant)))
}

#[utoipa::path(put, path = "/tenants/{tenant}/state", tag = "operator", request_body = StateNew,
    params(("tenant" = String, Path, description = "Its id or its slug")),
    responses((status = 200, body = TenantView), (status = 404), (status = 409)))]
pub(crate) async fn set_state(
    Operator(operator): Operator,
    control: Arc<Control>,
    In(name): In<String>,
    Json(new): Json<StateNew>,
) -> ApiResult<Response> {
    let tenant = find_tenant(&control, &operator, &name).await?;
    if tenant.body.slug == PLATFORM_SLUG {
        return Err(ApiError::conflict(
            "The platform's own tenant stays active.",
        ));
    }
    let state = match new.state {
        StateView::Active => TenantState::Active,
        StateView::Suspended => TenantState::Suspended,
        StateView::Closing => TenantState::Closing,
        StateView::Closed => TenantState::Closed,
    };
    let allowed = match tenant.body.state {
        TenantState::Active | TenantState::Suspended => state != TenantState::Closed,
        TenantState::Closing => true,
        TenantState::Closed => state == TenantState::Closed,
    };
    if !allowed {
        return Err(ApiError::conflict(format!(
            "A tenant that is {:?} cannot become {state:?}: it is closed by way of closing, and for ever.",
            tenant.body.state
        )));
    }
    let changed = control
        .deps
        .store
        .tenants(&operator)
        .set_state(tenant.id, state, control.deps.clock.now_us())
        .await?;
    control
        .deps
        .authenticator
        .forget(tenant.id, ChangeKind::Tenant, "");
    tracing::info!(tenant = %tenant.id, ?state, "the state of a tenant was changed");
    Ok(answer(StatusCode::OK, &TenantView::from(changed)))
}

#[utoipa::path(put, path = "/tenants/{tenant}/limits", tag = "operator", request_body = LimitsView,
    params(("tenant" = String, Path, description = "Its id or its slug")),
    responses((status = 200, body = TenantView), (status = 404)))]
pub(crate) async fn set_limits(
    Operator(operator): Operator,
    control: Arc<Control>,
    In(name): In<String>,
    Json(new): Json<LimitsView>,
) -> ApiResult<Response> {
    let tenant = find_tenant(&control, &operator, &name).await?;
    let now = control.deps.clock.now_us();
    let changed = control
        .deps
        .store
        .tenants(&operator)
        .set_limits(tenant.id, new.into(), now)
        .await?;
    control
        .deps
        .authenticator
        .forget(tenant.id, ChangeKind::Tenant, "");
    Ok(answer(StatusCode::OK, &TenantView::from(changed)))
}
