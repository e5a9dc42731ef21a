//! The operator's own: keys, lag, backup.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_log::LogError;
use laneway_runtime::Problem;
use laneway_tenancy::{Grant, Grants};
use serde::Serialize;
use utoipa::ToSchema;

use super::keys::KeyCreated;
use super::keys::make::make;
use crate::caller::{Operator, takes_authentication};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, answer};
use crate::lag::{self, LaneLag};
use crate::{Control, ensure_platform};

#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorKeyNew {
    /// Says what it is for.
    name: String,
}

#[utoipa::path(post, path = "/operator/keys", tag = "operator", request_body = OperatorKeyNew,
    responses((status = 201, body = KeyCreated), (status = 409, description = "Authentication is off")))]
pub(crate) async fn create_key(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(new): Json<OperatorKeyNew>,
) -> ApiResult<Response> {
    takes_authentication(&control)?;
    let deps = &control.deps;
    let platform = ensure_platform(
        &deps.store,
        &operator,
        &*deps.log,
        &*deps.random,
        deps.clock.now_us(),
    )
    .await?;
    let created = make(
        &control,
        &operator.scope(platform.id),
        &new.name,
        None,
        Grants::of([Grant::Operator]),
    )
    .await?;
    tracing::info!(key = %created.id, "an operator's key was created");
    Ok(answer(StatusCode::CREATED, &created))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LagView {
    lanes: Vec<LaneLag>,
}

#[utoipa::path(get, path = "/operator/lag", tag = "operator", responses((status = 200, body = LagView)))]
pub(crate) async fn lag(_operator: Operator, control: Arc<Control>) -> ApiResult<Response> {
    let lanes = lag::lanes(&*control.deps.log).await.map_err(log_trouble)?;
    Ok(answer(StatusCode::OK, &LagView { lanes }))
}

fn log_trouble(error: LogError) -> ApiError {
    tracing::warn!(%error, "the lag cannot be told");
    Problem::unavailable("The log is unavailable.").into()
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupView {
    /// The folder, on the server's disk.
    folder: String,
}

#[utoipa::path(post, path = "/operator/backup", tag = "operator", responses(
    (status = 200, body = BackupView), (status = 409, description = "The log, the store or one of its shards is not embedded")))]
pub(crate) async fn backup(_operator: Operator, control: Arc<Control>) -> ApiResult<Response> {
    let Some(backup) = &control.deps.backup else {
        return Err(ApiError::conflict(
            "Only an embedded log and a store all of whose databases are embedded are backed up this way: use the tools of the databases and the broker.",
        ));
    };
    control.trail.begun(&control.deps).await?;
    let folder = backup.run().await.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "a backup failed");
        ApiError::internal()
    })?;
    Ok(answer(StatusCode::OK, &BackupView { folder }))
}
