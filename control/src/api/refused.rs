//! What the processor refused of a device, for its tenant.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_runtime::Problem;
use laneway_tenancy::Grant;
use serde::Serialize;
use utoipa::ToSchema;

use super::devices::DevicePath;
use super::page::{Page, PageQuery, time};
use super::quarantine::log_trouble;
use crate::Control;
use crate::caller::Acting;
use crate::error::ApiResult;
use crate::json::{In, Params, answer};
use crate::quarantine::{Found, Place, Quarantine};

/// An event of the device that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedView {
    /// Its position among what was refused.
    position: String,
    /// Why, as a stable code.
    reason: String,
    /// Why, in words.
    detail: String,
    /// `location-updates` or `session-events`.
    topic: String,
    /// When it was received where that is known, else when it was appended.
    received_at: String,
}

impl From<Found> for RefusedView {
    fn from(found: Found) -> Self {
        RefusedView {
            position: found.place.to_string(),
            reason: found.record.reason,
            detail: found.record.detail,
            topic: found.record.topic,
            received_at: time(found.record.refused_at),
        }
    }
}

/// Oldest first. A page may have few or none and still name a next one: a request looks at a
/// bounded part of what was refused.
#[utoipa::path(get, path = "/devices/{device}/refused", tag = "devices", params(("device" = String, Path), PageQuery),
    responses((status = 200, body = Page<RefusedView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesRead)?;
    let deps = &control.deps;
    let tenant = deps
        .directory
        .tenant(scope.tenant())
        .ok_or_else(|| Problem::unavailable("The tenant is not known here yet."))?;
    // What is refused stays in the lane that its device has.
    let lane = tenant.body.placement.lane(path.device.as_str());
    let after: Option<Place> = page.after()?;
    let mut key = Vec::new();
    scope.record_key(path.device.as_str(), &mut key);
    let quarantine = Quarantine {
        log: &*deps.log,
        codecs: &deps.codecs,
    };
    let (found, next) = quarantine
        .list(Some(lane), after, page.limit() as usize, |record| {
            record.key.as_slice() == key
        })
        .await
        .map_err(log_trouble)?;
    let page = Page {
        items: found.into_iter().map(RefusedView::from).collect(),
        next: next.map(|place| place.to_string()),
    };
    Ok(answer(StatusCode::OK, &page))
}
