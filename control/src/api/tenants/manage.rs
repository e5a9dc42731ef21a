//! Managing one tenant: `/tenants/{tenant}`.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_runtime::Problem;
use laneway_store::{Tenant, TenantChange};
use laneway_tenancy::control::{TenantKind, TenantState};
use laneway_tenancy::{ChangeKind, Grant};
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::{OptionsView, StateView, TenantView, check_name};
use crate::Control;
use crate::api::limits::LimitsView;
use crate::caller::{Manager, Managing};
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, Json, answer_tagged};

/// How long the slug before leads to a renamed tenant.
const REDIRECT_US: i64 = 30 * 24 * 3600 * 1_000_000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantChanged {
    /// At most 100 characters.
    name: Option<String>,
    /// Only the operator changes it.
    plan: Option<String>,
    /// Taken as a whole: what is left out gets its default.
    options: Option<OptionsView>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateNew {
    state: StateView,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlugNew {
    /// The one before leads to the tenant for 30 days.
    slug: String,
}

#[utoipa::path(get, path = "/tenants/{tenant}", tag = "tenants",
    params(("tenant" = String, Path, description = "Its id or its slug")),
    responses((status = 200, body = TenantView), (status = 403), (status = 404)))]
pub(crate) async fn find(managing: Managing) -> ApiResult<Response> {
    managing.may(Grant::TenantRead, Grant::TenantsRead)?;
    let by_operator = managing.is_operator();
    Ok(shown(managing.tenant, by_operator))
}

#[utoipa::path(put, path = "/tenants/{tenant}", tag = "tenants", request_body = TenantChanged,
    params(("tenant" = String, Path, description = "Its id or its slug"), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = TenantView), (status = 403), (status = 404),
        (status = 412, description = "It has changed since"), (status = 422)))]
pub(crate) async fn change(
    managing: Managing,
    control: Arc<Control>,
    IfMatch(expected): IfMatch,
    Json(new): Json<TenantChanged>,
) -> ApiResult<Response> {
    managing.may(Grant::TenantWrite, Grant::TenantsWrite)?;
    if new.plan.is_some() && !managing.is_operator() {
        return Err(Problem::forbidden("Only the operator changes a plan.").into());
    }
    for name in [&new.name, &new.plan].into_iter().flatten() {
        check_name(name)?;
    }
    let options = new.options.map(OptionsView::checked).transpose()?;
    let opens = options.as_ref().is_some_and(|o| o.parent_may_read);
    if opens
        && matches!(managing.by, Manager::Above(_))
        && !managing.tenant.body.options.parent_may_read
    {
        return Err(Problem::forbidden(
            "Only the tenant itself lets the one above it read its stream.",
        )
        .into());
    }
    let change = TenantChange::Settings {
        name: new.name,
        plan: new.plan,
        options,
    };
    apply(&control, managing, expected, change).await
}

#[utoipa::path(put, path = "/tenants/{tenant}/slug", tag = "tenants", request_body = SlugNew,
    params(("tenant" = String, Path, description = "Its id or its slug"), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = TenantView), (status = 403), (status = 404),
        (status = 409, description = "Taken or reserved"), (status = 412), (status = 422)))]
pub(crate) async fn rename(
    managing: Managing,
    control: Arc<Control>,
    IfMatch(expected): IfMatch,
    Json(new): Json<SlugNew>,
) -> ApiResult<Response> {
    managing.may(Grant::TenantOwn, Grant::TenantsWrite)?;
    only_customers(&managing.tenant)?;
    super::check_slug(&new.slug)?;
    let change = TenantChange::Slug {
        slug: new.slug,
        until: control.deps.clock.now_us() + REDIRECT_US,
    };
    apply(&control, managing, expected, change).await
}

#[utoipa::path(put, path = "/tenants/{tenant}/state", tag = "tenants", request_body = StateNew,
    params(("tenant" = String, Path, description = "Its id or its slug"), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = TenantView), (status = 403), (status = 404), (status = 409), (status = 412)))]
pub(crate) async fn set_state(
    managing: Managing,
    control: Arc<Control>,
    IfMatch(expected): IfMatch,
    Json(new): Json<StateNew>,
) -> ApiResult<Response> {
    managing.may(Grant::TenantOwn, Grant::TenantsWrite)?;
    let state = TenantState::from(new.state);
    if matches!(managing.by, Manager::Itself(_)) && state != TenantState::Closing {
        return Err(Problem::forbidden(
            "A tenant closes itself; suspending and activating is up to the operator or the tenant above.",
        )
        .into());
    }
    if matches!(
        managing.tenant.body.kind,
        TenantKind::Platform | TenantKind::Default | TenantKind::Runtime
    ) {
        return Err(ApiError::conflict("The platform's own stay active."));
    }
    let before = managing.tenant.own_state;
    let allowed = match before {
        TenantState::Active | TenantState::Suspended => state != TenantState::Closed,
        TenantState::Closing => matches!(state, TenantState::Closing | TenantState::Closed),
        TenantState::Closed => state == TenantState::Closed,
        TenantState::Other => false,
    };
    if !allowed {
        return Err(ApiError::conflict(format!(
            "A tenant that is {before:?} cannot become {state:?}: it is closed by way of closing, and for ever.",
        )));
    }
    tracing::info!(tenant = %managing.tenant.id, ?state, "the state of a tenant is changed");
    apply(&control, managing, expected, TenantChange::State(state)).await
}

#[utoipa::path(put, path = "/tenants/{tenant}/limits", tag = "tenants", request_body = LimitsView,
    params(("tenant" = String, Path, description = "Its id or its slug"), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = TenantView), (status = 403), (status = 404),
        (status = 409, description = "More than the tenant above has left, or than the tenants below have been given"), (status = 412)))]
pub(crate) async fn set_limits(
    managing: Managing,
    control: Arc<Control>,
    IfMatch(expected): IfMatch,
    Json(new): Json<LimitsView>,
) -> ApiResult<Response> {
    managing.may(Grant::TenantWrite, Grant::TenantsWrite)?;
    if matches!(managing.by, Manager::Itself(_)) {
        return Err(Problem::forbidden("A tenant does not set its own limits.").into());
    }
    apply(
        &control,
        managing,
        expected,
        TenantChange::Limits(new.into()),
    )
    .await
}

async fn apply(
    control: &Control,
    managing: Managing,
    expected: Option<i64>,
    change: TenantChange,
) -> ApiResult<Response> {
    let by_operator = managing.is_operator();
    let Managing { tenant, by } = managing;
    let store = &control.deps.store;
    let now = control.deps.clock.now_us();
    let changed = match &by {
        Manager::Operator(operator) => {
            let tenants = store.tenants(operator);
            tenants.change(tenant.id, expected, change, now).await?
        }
        Manager::Itself(scope) => {
            store
                .family(scope)
                .change_head(expected, change, now)
                .await?
        }
        Manager::Above(scope) => {
            let family = store.family(scope);
            family.change(tenant.id, expected, change, now).await?
        }
    };
    let authenticator = &control.deps.authenticator;
    authenticator.forget(tenant.id, ChangeKind::Tenant, "");
    Ok(shown(changed, by_operator))
}

fn only_customers(tenant: &Tenant) -> ApiResult<()> {
    if matches!(tenant.body.kind, TenantKind::Tenant | TenantKind::Partner) {
        return Ok(());
    }
    Err(ApiError::conflict(
        "Only a customer or a partner is renamed: a namespace goes by its tenant's name, the platform's own keep theirs.",
    ))
}

fn shown(tenant: Tenant, by_operator: bool) -> Response {
    let version = tenant.version;
    let view = TenantView::seen_by(tenant, by_operator);
    answer_tagged(StatusCode::OK, &view, version)
}
