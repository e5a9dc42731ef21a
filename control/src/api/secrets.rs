//! Keys of secrets at rest.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Control;
use crate::caller::Operator;
use crate::error::ApiResult;
use crate::json::{Json, answer};

/// Secrets that one request looks at.
const STEP: u64 = 5000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// Goes on there: `next` of the answer before.
    #[serde(default)]
    after: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotatedView {
    /// Id of the key that secrets have now.
    key: String,
    /// Secrets that were looked at.
    seen: u64,
    /// Secrets that were encrypted anew.
    resealed: u64,
    /// Given where there are more: `after` of the next request.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Encrypts secrets anew with the current key, some thousand at a time. Repeating is safe.
#[utoipa::path(post, path = "/operator/secrets/rotate", tag = "operator", request_body = Rotate,
    responses((status = 200, body = RotatedView)))]
pub(crate) async fn rotate(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(asked): Json<Rotate>,
) -> ApiResult<Response> {
    control.trail.begun(&control.deps).await?;
    let rotation = control.deps.store.rotation(&operator);
    let rotated = rotation.step(asked.after.as_deref(), STEP).await?;
    let view = RotatedView {
        key: rotated.key,
        seen: rotated.seen,
        resealed: rotated.resealed,
        next: rotated.next,
    };
    Ok(answer(StatusCode::OK, &view))
}
