//! Grants: what a tenant lets a partner read of its stream, and until when.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_runtime::Problem;
use laneway_store::{NewGrant, PartnerGrant, Tenant};
use laneway_tenancy::control::{GrantBody, TenantKind, TenantState};
use laneway_tenancy::{Grant, GrantId, OperatorScope, TenantId, new_id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, micros, time};
use super::tenants::view::check_name;
use super::wanted;
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, Params, answer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantNew {
    /// Slug or id of the partner.
    partner: String,
    /// Says what it is for: at most 100 characters.
    #[serde(default)]
    name: String,
    /// What it may read: at least one of the types of events.
    #[schema(example = json!(["laneway.position"]))]
    event_types: Vec<String>,
    /// Of these devices; without any, of all. At most 1000.
    #[serde(default)]
    devices: Vec<String>,
    /// Until when (RFC 3339).
    expires_at: String,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GrantState {
    Active,
    /// It gives nothing any more.
    Expired,
}

/// A tenant or a partner.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartyView {
    #[schema(value_type = String)]
    id: TenantId,
    slug: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantView {
    #[schema(value_type = String, example = "grt_01k8r2q4s0f7v9w3x5y6z7a8b9")]
    id: GrantId,
    /// Whose stream it is.
    tenant: PartyView,
    partner: PartyView,
    name: String,
    event_types: Vec<String>,
    /// None for all.
    devices: Vec<String>,
    state: GrantState,
    expires_at: String,
    created_at: String,
}

impl GrantView {
    fn new(control: &Control, grant: PartnerGrant, now: i64) -> Self {
        let party = |id| PartyView {
            id,
            slug: control
                .deps
                .directory
                .tenant(id)
                .map(|t| t.body.slug.clone()),
        };
        GrantView {
            id: grant.id,
            tenant: party(grant.tenant),
            partner: party(grant.body.partner),
            name: grant.name,
            event_types: grant.body.event_types,
            devices: grant.body.devices,
            state: if now < grant.body.expires_at {
                GrantState::Active
            } else {
                GrantState::Expired
            },
            expires_at: time(grant.body.expires_at),
            created_at: time(grant.created_at),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct GrantPath {
    grant: GrantId,
}

#[utoipa::path(post, path = "/grants", tag = "partners", request_body = GrantNew, responses(
    (status = 201, body = GrantView), (status = 403, description = "`limit-reached`: the tenant has as many as it may"),
    (status = 422, description = "Not valid, or there is no such partner")))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<GrantNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::PartnersWrite)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    check_name(&new.name)?;
    if new.event_types.is_empty() {
        let known = wanted::known_types();
        return Err(ApiError::invalid(format!(
            "event_types: at least one of {known}."
        )));
    }
    wanted::check(&new.event_types, &new.devices)?;
    let expires_at = micros("expires_at", Some(&new.expires_at))?.unwrap_or(0);
    if expires_at <= now {
        return Err(ApiError::invalid("expires_at: it is past."));
    }
    let head = deps.store.family(scope).head().await?;
    let head = head.ok_or_else(ApiError::not_found)?;
    if head.body.kind == TenantKind::Partner {
        return Err(ApiError::conflict("A partner has no stream to grant."));
    }
    let partner = find_partner(&control, &new.partner).await?;
    let new = NewGrant {
        id: GrantId::from_u128(new_id(&*deps.random, now)),
        name: new.name,
        body: GrantBody {
            partner: partner.id,
            event_types: new.event_types,
            devices: new.devices,
            expires_at,
        },
    };
    let granted = deps.store.grants(scope).create(new, now).await?;
    tracing::info!(tenant = %granted.tenant, grant = %granted.id, partner = %partner.id, "a stream was granted to a partner");
    let view = GrantView::new(&control, granted, now);
    Ok(answer(StatusCode::CREATED, &view))
}

#[utoipa::path(get, path = "/grants", tag = "partners", params(PageQuery),
    responses((status = 200, body = Page<GrantView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::PartnersRead)?;
    let grants = control.deps.store.grants(scope);
    let found = grants.list(page.after()?, page.limit()).await?;
    Ok(answer_page(&control, found, &page))
}

#[utoipa::path(get, path = "/grants/{grant}", tag = "partners", params(("grant" = String, Path)),
    responses((status = 200, body = GrantView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<GrantPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::PartnersRead)?;
    let found = control.deps.store.grants(scope).find(path.grant).await?;
    let grant = found.ok_or_else(ApiError::not_found)?;
    let now = control.deps.clock.now_us();
    let view = GrantView::new(&control, grant, now);
    Ok(answer(StatusCode::OK, &view))
}

#[utoipa::path(delete, path = "/grants/{grant}", tag = "partners", params(("grant" = String, Path)),
    responses((status = 204, description = "Revoked: what is open by it is closed within a second"), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<GrantPath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::PartnersWrite)?;
    let now = control.deps.clock.now_us();
    let grants = control.deps.store.grants(scope);
    grants.delete(path.grant, now).await?;
    tracing::info!(tenant = %scope.tenant(), grant = %path.grant, "a grant was revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// What tenants grant to the caller.
#[utoipa::path(get, path = "/partner/grants", tag = "partners", params(PageQuery),
    responses((status = 200, body = Page<GrantView>), (status = 403, description = "The key is no partner's")))]
pub(crate) async fn granted(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::PartnersRead)?;
    let store = &control.deps.store;
    let head = store.family(scope).head().await?;
    if head.is_none_or(|head| head.body.kind != TenantKind::Partner) {
        return Err(Problem::forbidden("This takes a partner's key.").into());
    }
    let granted = store.granted(scope);
    let found = granted.list(page.after()?, page.limit()).await?;
    Ok(answer_page(&control, found, &page))
}

fn answer_page(control: &Control, found: Vec<PartnerGrant>, page: &PageQuery) -> Response {
    let now = control.deps.clock.now_us();
    let items = found
        .into_iter()
        .map(|grant| GrantView::new(control, grant, now));
    Page::answer(items, page, |g| g.id.to_string())
}

/// What is no partner is answered like what is not there at all.
async fn find_partner(control: &Control, name: &str) -> ApiResult<Tenant> {
    let deps = &control.deps;
    let operator = OperatorScope::of_role(&deps.authority);
    let tenants = deps.store.tenants(&operator);
    let found = match name.parse() {
        Ok(id) => tenants.find(id).await?,
        Err(_) => tenants.by_slug(name).await?,
    };
    found
        .filter(|t| t.body.kind == TenantKind::Partner && t.body.state == TenantState::Active)
        .ok_or_else(|| ApiError::invalid(format!("partner: there is no partner {name:?}.")))
}
