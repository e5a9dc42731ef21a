//! What is personal of a device: taken along, or erased.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_log::Topic;
use laneway_store::audit::{AuditQuery, principal_name};
use laneway_tenancy::{Grant, OperatorScope, Principal, TenantScope};
use serde::Serialize;
use utoipa::ToSchema;

use super::audit::AuditView;
use super::credentials::CredentialView;
use super::devices::{DevicePath, DeviceView};
use super::positions::{self, SessionView};
use super::tenants::closure::retained_until;
use crate::Control;
use crate::caller::Acting;
use crate::erasing::{self, Of};
use crate::error::{ApiError, ApiResult};
use crate::json::{In, answer};

/// Sessions, and entries of the audit trail, of one export.
const MOST: u32 = 10_000;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonalView {
    /// None where it was removed.
    device: Option<DeviceView>,
    /// Without their secrets, which are not kept.
    credentials: Vec<CredentialView>,
    /// Data of its latest `laneway.position`.
    #[schema(value_type = Option<Object>)]
    position: Option<Box<serde_json::value::RawValue>>,
    /// At most 10,000, by id. What it sent itself is in the stream as long as that is retained.
    sessions: Vec<SessionView>,
    /// What the audit trail says that it did, with the addresses that it came from: at most
    /// 10,000.
    audit: Vec<AuditView>,
}

#[utoipa::path(get, path = "/devices/{device}/personal", tag = "devices", params(("device" = String, Path)),
    description = "All that is kept of a device by its name, for whom it is about. Needs the grant `tenant:own`.",
    responses((status = 200, body = PersonalView), (status = 404, description = "Nothing is kept of such a device")))]
pub(crate) async fn export(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantOwn)?;
    let (store, id) = (&control.deps.store, &path.device);
    let query = AuditQuery {
        principal: named(&path),
        limit: MOST,
        ..AuditQuery::default()
    };
    let device = store.devices(scope).find(id).await?;
    let credentials = match device {
        Some(_) => store.credentials(scope).of_device(id).await?,
        None => Vec::new(),
    };
    let position = match store.positions(scope).latest(id).await? {
        Some(found) => Some(positions::data(scope, id, &found)?),
        None => None,
    };
    let sessions = store.sessions(scope).of_device(id, None, MOST).await?;
    let audit = store.audit(scope).list(&query).await?;
    if device.is_none() && position.is_none() && sessions.is_empty() && audit.is_empty() {
        return Err(ApiError::not_found());
    }
    let personal = PersonalView {
        device: device.map(DeviceView::from),
        credentials: credentials.into_iter().map(CredentialView::from).collect(),
        position,
        sessions: sessions.into_iter().map(SessionView::from).collect(),
        audit: audit.into_iter().map(AuditView::from).collect(),
    };
    Ok(answer(StatusCode::OK, &personal))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasedDeviceView {
    /// Its latest position and its sessions.
    rows: u64,
    /// Addresses and other personal values of the audit trail, which stays whole without them.
    audit: u64,
    /// Parts of the processor's state, in a compacted topic.
    processor_state: u64,
    /// By then what it sent, and what was derived of it, has gone from the shared topics; until
    /// then subscribers of the tenant may read it.
    topics_until: Option<String>,
}

#[utoipa::path(delete, path = "/devices/{device}/personal", tag = "devices", params(("device" = String, Path)),
    description = "Removes a device and erases what is kept of it, also of one that was removed before. Needs the grant `tenant:own`. What destinations were sent is theirs. What it had sent before and is still on its way is erased as well once it has come, within minutes where all roles run; a device that is registered again under the name meanwhile keeps it. Repeating is safe.",
    responses((status = 200, body = ErasedDeviceView), (status = 404, description = "There has been no such device, or nothing tells of it any more")))]
pub(crate) async fn erase(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::TenantOwn)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let devices = deps.store.devices(scope);
    let directory = &deps.directory;
    let known = directory.device_ever_known(scope.tenant(), path.device.as_str());
    let erased = devices.erase(&path.device, known, now).await?;
    let processor_state = marks(&control, scope, &path).await?;
    let erased = ErasedDeviceView {
        rows: erased.projected,
        audit: erased.personal,
        processor_state,
        topics_until: retained_until(&control, now),
    };
    Ok(answer(StatusCode::OK, &erased))
}

async fn marks(control: &Control, scope: &TenantScope, path: &DevicePath) -> ApiResult<u64> {
    let operator = OperatorScope::of_role(&control.deps.authority);
    let of = Of::Device(scope.tenant(), &path.device);
    let marked = erasing::erase(control, &operator, of, Topic::ProcessorState).await;
    marked.map_err(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "a device is erased from the store, not yet from the processor's state"
        );
        laneway_runtime::Problem::unavailable(
            "Erased from the database, not yet from the processor's state; send it again.",
        )
        .into()
    })
}

/// As the audit trail names it.
fn named(path: &DevicePath) -> String {
    principal_name(&Principal::Device(path.device.clone()))
}
