//! Partners: principals outside of all tenants, which read what these grant to them. Made by the
//! operator; managed like tenants.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::NewTenant;
use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{TenantId, new_id};
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::{self, TenantCreated, TenantView};
use super::{check_slug, placement, prepare_owner};
use crate::Control;
use crate::api::keys::PreparedKey;
use crate::api::page::{Page, PageQuery};
use crate::caller::Operator;
use crate::error::ApiResult;
use crate::json::{Json, Params, answer_tagged};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartnerNew {
    /// As a tenant's: unique over all tenants and partners.
    slug: String,
    /// What people call it: at most 100 characters.
    #[serde(default)]
    name: String,
    /// Makes a first key, an owner's, of that name.
    owner: Option<String>,
}

#[utoipa::path(post, path = "/partners", tag = "operator", request_body = PartnerNew, responses(
    (status = 201, body = TenantCreated), (status = 409, description = "The slug is taken or reserved"),
    (status = 422, description = "Not valid")))]
pub(crate) async fn create(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(new): Json<PartnerNew>,
) -> ApiResult<Response> {
    check_slug(&new.slug)?;
    view::check_name(&new.name)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let owner = prepare_owner(&control, new.owner.as_deref(), now)?;
    let id = TenantId::from_u128(new_id(&*deps.random, now));
    let new = NewTenant {
        kind: TenantKind::Partner,
        name: new.name,
        // It has no records.
        ..NewTenant::plain(id, new.slug, placement(&control, id, Some(1))?)
    };
    let tenants = deps.store.tenants(&operator);
    let stored = owner.as_ref().map(PreparedKey::stored);
    let partner = tenants.create_with(new, stored, now).await?;
    tracing::info!(partner = %partner.id, slug = partner.body.slug, "a partner was created");
    let version = partner.version;
    let created = TenantCreated {
        tenant: partner.into(),
        owner: owner.map(PreparedKey::shown),
    };
    Ok(answer_tagged(StatusCode::CREATED, &created, version))
}

#[utoipa::path(get, path = "/partners", tag = "operator", params(PageQuery),
    responses((status = 200, body = Page<TenantView>)))]
pub(crate) async fn list(
    Operator(operator): Operator,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let tenants = control.deps.store.tenants(&operator);
    let found = tenants
        .of_kind(TenantKind::Partner, page.after()?, page.limit())
        .await?;
    let items = found.into_iter().map(TenantView::from);
    Ok(Page::answer(items, &page, |t| t.id.to_string()))
}
