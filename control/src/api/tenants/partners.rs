//! Partners: principals outside of all tenants, which read what these grant to them. Made by the
//! operator; managed like tenants.

use std::sync::Arc;

use axum::response::Response;
use laneway_tenancy::control::TenantKind;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::{TenantCreated, TenantView};
use super::{TenantNew, checked, created};
use crate::Control;
use crate::api::page::{Page, PageQuery};
use crate::caller::Operator;
use crate::error::ApiResult;
use crate::json::{Json, Params};

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
    (status = 201, body = TenantCreated), (status = 409, description = "The slug is taken or reserved, or authentication is off"),
    (status = 422, description = "Not valid")))]
pub(crate) async fn create(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(new): Json<PartnerNew>,
) -> ApiResult<Response> {
    let asked = TenantNew {
        name: new.name,
        // It has no records.
        lanes: Some(1),
        owner: new.owner,
        ..TenantNew::plain(new.slug, Vec::new())
    };
    let mut founding = checked(&control, asked)?;
    founding.new.kind = TenantKind::Partner;
    let (partner, hosts) = founding.carry_out(&control, &operator).await?;
    Ok(created(partner, founding.owner, hosts, true))
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
