//! What the projection knows of a device.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{LatestPosition, Session, SessionState};
use laneway_tenancy::{DeviceId, Grant, SessionId, TenantScope};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::devices::DevicePath;
use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Params, answer};

#[utoipa::path(get, path = "/devices/{device}/position", tag = "positions", params(("device" = String, Path)),
    responses((status = 200, description = "Data of the device's latest laneway.position event, by event time", body = Object),
        (status = 404)))]
pub(crate) async fn latest(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::PositionsRead)?;
    let found = control
        .deps
        .store
        .positions(scope)
        .latest(&path.device)
        .await?;
    let found = found.ok_or_else(ApiError::not_found)?;
    Ok(answer(StatusCode::OK, &data(scope, &path.device, &found)?))
}

/// As the projection wrote it.
pub(crate) fn data(
    scope: &TenantScope,
    device: &DeviceId,
    found: &LatestPosition,
) -> ApiResult<Box<RawValue>> {
    RawValue::from_string(found.body.clone()).map_err(|error| {
        tracing::error!(%error, %device, tenant = %scope.tenant(), "latest_positions: the body is no JSON");
        ApiError::internal()
    })
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    #[schema(value_type = String)]
    session_id: SessionId,
    device_id: String,
    /// `open` or `stopped`.
    state: &'static str,
    started_at: Option<String>,
    stopped_at: Option<String>,
    last_fix_at: Option<String>,
    fixes: i64,
    distance_m: f64,
    duration_s: f64,
    attributes: BTreeMap<String, String>,
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        SessionView {
            session_id: session.session,
            device_id: session.device.to_string(),
            state: if session.state == SessionState::Stopped {
                "stopped"
            } else {
                "open"
            },
            started_at: session.started_at.map(time),
            stopped_at: session.stopped_at.map(time),
            last_fix_at: session.last_fix_at.map(time),
            fixes: session.fixes,
            distance_m: session.distance_m,
            duration_s: session.duration_s,
            attributes: session.attributes,
        }
    }
}

#[utoipa::path(get, path = "/devices/{device}/sessions", tag = "positions",
    params(("device" = String, Path), PageQuery), responses((status = 200, body = Page<SessionView>)))]
pub(crate) async fn sessions(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::PositionsRead)?;
    let after: Option<SessionId> = page.after()?;
    let found = control
        .deps
        .store
        .sessions(scope)
        .of_device(&path.device, after.as_ref(), page.limit())
        .await?;
    let items = found.into_iter().map(SessionView::from);
    Ok(Page::answer(items, &page, |s| s.session_id.to_string()))
}
