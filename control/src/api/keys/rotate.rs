//! Another secret for a key.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_store::KeyRotation;
use laneway_tenancy::{Grant, Role};
use serde::Deserialize;
use utoipa::ToSchema;

use super::make::secret;
use super::{KeyCreated, KeyPath, forget, found};
use crate::Control;
use crate::api::page::{ahead, time};
use crate::caller::{Acting, gives};
use crate::error::{ApiError, ApiResult};
use crate::json::{IfMatch, In, Json, answer_tagged};

const OVERLAP_S: u32 = 3600;
const LONGEST_OVERLAP_S: u32 = 30 * 86_400;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotate {
    /// For how long the former secret holds beside the new one, but not longer than the key held
    /// so far: 3600 where it is not said, at most 2592000; with 0 it ends at once.
    overlap_seconds: Option<u32>,
    /// When the key ends. Where it is not said, after the tenant's option `key_lifetime_seconds`,
    /// or without that when it would have.
    expires_at: Option<String>,
}

#[utoipa::path(post, path = "/keys/{key}/rotate", tag = "keys", request_body = KeyRotate,
    params(("key" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag that it was read with")),
    responses((status = 200, description = "With its new secret. One that is kept from an earlier rotation ends at once.", body = KeyCreated),
        (status = 403, description = "The key may more than the caller"), (status = 404),
        (status = 409, description = "The key has ended, or would hold longer than the tenant's keys may"),
        (status = 412, description = "It has changed meanwhile"), (status = 422)))]
pub(crate) async fn rotate(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<KeyPath>,
    IfMatch(expected): IfMatch,
    Json(asked): Json<KeyRotate>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::KeysWrite)?;
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let overlap = asked.overlap_seconds.unwrap_or(OVERLAP_S);
    if overlap > LONGEST_OVERLAP_S {
        return Err(ApiError::invalid(format!(
            "overlap_seconds: at most {LONGEST_OVERLAP_S}."
        )));
    }
    // Whoever rotates a key learns its secret.
    let known = found(&control, scope, path.key).await?;
    gives(scope, known.grants, "A key")?;
    let (token, token_hash) = secret(&control);
    let rotation = KeyRotation {
        token_hash,
        former_until: now + i64::from(overlap) * 1_000_000,
        expires_at: ahead("expires_at", asked.expires_at.as_deref(), now)?,
    };
    let keys = deps.store.keys(scope);
    let rotated = keys.rotate(path.key, expected, rotation, now).await?;
    forget(&control, scope, path.key);
    let version = rotated.version;
    let shown = KeyCreated {
        id: rotated.id,
        name: rotated.name,
        account: rotated.account,
        role: rotated.role.map(Role::name),
        grants: rotated.grants.names(),
        expires_at: rotated.expires_at.map(time),
        former_until: rotated.former_until.map(time),
        key: token.reveal().to_owned(),
    };
    Ok(answer_tagged(StatusCode::OK, &shown, version))
}
