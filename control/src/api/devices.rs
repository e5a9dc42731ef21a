//! Devices of a tenant.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::Device;
use laneway_tenancy::{ChangeKind, DeviceId, Grant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, Params, answer};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceNew {
    /// Chosen by the tenant: 1 to 64 of A–Z a–z 0–9 . _ : -, beginning with a letter or a digit.
    id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceView {
    #[schema(value_type = String)]
    id: DeviceId,
    /// The control version that registered it.
    since: i64,
    created_at: String,
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        DeviceView {
            id: device.id,
            since: device.since,
            created_at: time(device.created_at),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct DevicePath {
    pub(crate) device: DeviceId,
}

#[utoipa::path(post, path = "/devices", tag = "devices", request_body = DeviceNew,
    responses((status = 201, body = DeviceView), (status = 409, description = "It exists"), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<DeviceNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesWrite)?;
    let id = new
        .id
        .parse()
        .map_err(|e| ApiError::invalid(format!("id: {e}.")))?;
    let device = control
        .deps
        .store
        .devices(scope)
        .create(&id, control.deps.clock.now_us())
        .await?;
    Ok(answer(StatusCode::CREATED, &DeviceView::from(device)))
}

#[utoipa::path(get, path = "/devices", tag = "devices", params(PageQuery),
    responses((status = 200, body = Page<DeviceView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesRead)?;
    let after: Option<DeviceId> = page.after()?;
    let found = control
        .deps
        .store
        .devices(scope)
        .list(after.as_ref(), page.limit())
        .await?;
    let items = found.into_iter().map(DeviceView::from);
    Ok(Page::answer(items, &page, |d| d.id.to_string()))
}

#[utoipa::path(get, path = "/devices/{device}", tag = "devices", params(("device" = String, Path)),
    responses((status = 200, body = DeviceView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesRead)?;
    let found = control
        .deps
        .store
        .devices(scope)
        .find(&path.device)
        .await?
        .ok_or_else(ApiError::not_found)?;
    Ok(answer(StatusCode::OK, &DeviceView::from(found)))
}

#[utoipa::path(delete, path = "/devices/{device}", tag = "devices", params(("device" = String, Path)),
    responses((status = 204, description = "Gone, with its credentials; what it sent stays"), (status = 404)))]
pub(crate) async fn remove(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
) -> ApiResult<StatusCode> {
    let scope = acting.may(Grant::DevicesWrite)?;
    control
        .deps
        .store
        .devices(scope)
        .delete(&path.device, control.deps.clock.now_us())
        .await?;
    control
        .deps
        .authenticator
        .forget(scope.tenant(), ChangeKind::Device, path.device.as_str());
    Ok(StatusCode::NO_CONTENT)
}
