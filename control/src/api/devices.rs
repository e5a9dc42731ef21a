//! Devices of a tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::{Device, DeviceChange, DeviceFilter, EnrolledBy, NewDevice, StoreError};
use laneway_tenancy::details::Labels;
use laneway_tenancy::{ChangeKind, DeviceDetails, DeviceId, Grant};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, In, Json, Params, answer_tagged};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceNew {
    /// Chosen by the tenant: 1 to 64 of A–Z a–z 0–9 . _ : -, beginning with a letter or a digit.
    pub(crate) id: String,
    /// For people: at most 100 characters.
    #[serde(default)]
    pub(crate) name: String,
    /// Formed like an id; none where it is empty.
    #[serde(default)]
    pub(crate) group: String,
    /// At most 32: names formed like an id, values of at most 128 bytes.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

impl DeviceNew {
    pub(crate) fn check(self) -> Result<NewDevice, String> {
        let id = self.id.parse().map_err(|e| format!("id: {e}."))?;
        let details = DeviceDetails {
            name: self.name,
            group: self.group,
            labels: self.labels,
        };
        details.check().map_err(|e| format!("{e}."))?;
        Ok(NewDevice {
            id,
            details,
            token: None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeviceState {
    Enabled,
    /// Its credentials let it do nothing.
    Disabled,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceView {
    #[schema(value_type = String)]
    id: DeviceId,
    name: String,
    group: String,
    labels: BTreeMap<String, String>,
    state: DeviceState,
    /// The control version that registered it.
    since: i64,
    created_at: String,
    /// When the last of its fixes was received.
    last_seen_at: Option<String>,
    /// When the latest of its fixes was recorded, by the device's clock.
    last_fix_at: Option<String>,
    /// How it came in, where it enrolled itself; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolment: Option<EnrolmentView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrolmentView {
    /// The provisioning key.
    key: String,
    at: String,
    /// What the device said of itself.
    hardware: BTreeMap<String, String>,
}

impl From<EnrolledBy> for EnrolmentView {
    fn from(by: EnrolledBy) -> Self {
        EnrolmentView {
            key: by.key.to_string(),
            at: time(by.at),
            hardware: by.hardware,
        }
    }
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        DeviceView {
            id: device.id,
            name: device.details.name,
            group: device.details.group,
            labels: device.details.labels,
            state: if device.disabled {
                DeviceState::Disabled
            } else {
                DeviceState::Enabled
            },
            since: device.since,
            created_at: time(device.created_at),
            last_seen_at: device.seen.and_then(|seen| seen.received_at).map(time),
            last_fix_at: device.seen.map(|seen| time(seen.recorded_at)),
            enrolment: None,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct DevicePath {
    pub(crate) device: DeviceId,
}

#[utoipa::path(post, path = "/devices", tag = "devices", request_body = DeviceNew,
    responses((status = 201, body = DeviceView), (status = 403, description = "The tenant has as many as it may"),
        (status = 409, description = "It exists"), (status = 422)))]
pub(crate) async fn create(
    acting: Acting,
    control: Arc<Control>,
    Json(new): Json<DeviceNew>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesWrite)?;
    let new = new.check().map_err(ApiError::invalid)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let device = deps.store.devices(scope).register(new, now).await?;
    let version = device.version;
    Ok(answer_tagged(
        StatusCode::CREATED,
        &DeviceView::from(device),
        version,
    ))
}

/// Which devices are listed: those that are all that is said.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceQuery {
    group: Option<String>,
    /// A label and its value: `name=value`.
    label: Option<String>,
    #[param(inline)]
    state: Option<DeviceState>,
    /// Goes on after this id: `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 1000; 100 where it is not said.
    limit: Option<u32>,
}

#[utoipa::path(get, path = "/devices", tag = "devices", params(DeviceQuery),
    responses((status = 200, body = Page<DeviceView>)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    Params(query): Params<DeviceQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesRead)?;
    let label = query.label.as_deref().map(|label| {
        let pair = label.split_once('=');
        pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .ok_or_else(|| ApiError::invalid("label: a name and a value, as name=value."))
    });
    let filter = DeviceFilter {
        group: query.group,
        label: label.transpose()?,
        disabled: query.state.map(|state| state == DeviceState::Disabled),
    };
    let page = PageQuery::new(query.after, query.limit);
    let after: Option<DeviceId> = page.after()?;
    let found = control
        .deps
        .store
        .devices(scope)
        .select(&filter, after.as_ref(), page.limit())
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
    let devices = control.deps.store.devices(scope);
    let found = devices.find(&path.device).await?;
    let found = found.ok_or_else(ApiError::not_found)?;
    let version = found.version;
    let mut view = DeviceView::from(found);
    let by = devices.enrolled_by(&path.device).await?;
    view.enrolment = by.map(EnrolmentView::from);
    Ok(answer_tagged(StatusCode::OK, &view, version))
}

/// What is not said stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DevicePatch {
    name: Option<String>,
    /// Empty for none.
    group: Option<String>,
    /// Labels to set; null takes one away.
    labels: BTreeMap<String, Option<String>>,
    state: Option<DeviceState>,
}

impl DevicePatch {
    fn of(self, device: &Device) -> ApiResult<DeviceChange> {
        let mut details = device.details.clone();
        details.name = self.name.unwrap_or(details.name);
        details.group = self.group.unwrap_or(details.group);
        set(&mut details.labels, self.labels);
        details
            .check()
            .map_err(|e| ApiError::invalid(format!("{e}.")))?;
        let same = details.labels == device.details.labels;
        Ok(DeviceChange {
            name: Some(details.name),
            group: Some(details.group),
            labels: (!same).then_some(details.labels),
            disabled: self.state.map(|state| state == DeviceState::Disabled),
        })
    }
}

fn set(labels: &mut Labels, new: BTreeMap<String, Option<String>>) {
    for (name, value) in new {
        match value {
            Some(value) => labels.insert(name, value),
            None => labels.remove(&name),
        };
    }
}

#[utoipa::path(patch, path = "/devices/{device}", tag = "devices", request_body = DevicePatch,
    params(("device" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that it was read with")),
    responses((status = 200, body = DeviceView), (status = 404), (status = 412, description = "It has changed meanwhile"), (status = 422)))]
pub(crate) async fn change(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
    IfMatch(based_on): IfMatch,
    Json(patch): Json<DevicePatch>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DevicesWrite)?;
    let deps = &control.deps;
    let judge = |device: &Device| {
        if based_on.is_some_and(|version| version != device.version) {
            return Err(ApiError::from(StoreError::Changed {
                what: format!("device {}", device.id),
            }));
        }
        patch.of(device)
    };
    let changed = deps
        .store
        .devices(scope)
        .change(&path.device, deps.clock.now_us(), judge)
        .await?;
    deps.authenticator
        .forget(scope.tenant(), ChangeKind::Device, path.device.as_str());
    let version = changed.version;
    Ok(answer_tagged(
        StatusCode::OK,
        &DeviceView::from(changed),
        version,
    ))
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
