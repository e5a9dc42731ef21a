//! What has to stay compatible.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use laneway_schemas::Compatibility;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Flags, is_own, visible, writable};
use super::answer;
use super::error::{RegistryApiError, RegistryProblem, RegistryResult};
use super::register::{check_subject, parse};
use crate::Control;
use crate::caller::Caller;
use crate::json::In;

/// `NONE`, `BACKWARD`, `FORWARD`, `FULL`, or one of the last three with `_TRANSITIVE`.
#[derive(Serialize, ToSchema)]
pub(crate) struct LevelInForce {
    #[serde(rename = "compatibilityLevel")]
    level: &'static str,
}

impl LevelInForce {
    fn answer(level: Compatibility) -> RegistryResult<Response> {
        answer(&LevelInForce {
            level: level.name(),
        })
    }
}

/// `NONE`, `BACKWARD`, `FORWARD`, `FULL`, or one of the last three with `_TRANSITIVE`.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct LevelNew {
    compatibility: String,
}

impl LevelNew {
    fn parse(body: &[u8]) -> RegistryResult<Compatibility> {
        let body: LevelNew = parse(body)?;
        serde_json::from_value(body.compatibility.into()).map_err(|_| RegistryApiError::bad_level())
    }

    fn answer(level: Compatibility) -> RegistryResult<Response> {
        answer(&LevelNew {
            compatibility: level.name().to_owned(),
        })
    }
}

#[utoipa::path(get, path = "/registry/config", tag = "registry",
    responses((status = 200, description = "For subjects without a level of their own", body = LevelInForce)))]
pub(crate) async fn general(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    LevelInForce::answer(schemas.general_level().await?)
}

#[utoipa::path(put, path = "/registry/config", tag = "registry", description = "The operator's",
    request_body = LevelNew,
    responses((status = 200, body = LevelNew), (status = 403, body = RegistryProblem),
        (status = 422, body = RegistryProblem)))]
pub(crate) async fn set_general(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    body: Bytes,
) -> RegistryResult<Response> {
    let caller = caller?;
    if caller.operator().is_none() {
        return Err(RegistryApiError::forbidden("This takes an operator's key."));
    }
    let level = LevelNew::parse(&body)?;
    control.trail.begun(&control.deps).await?;
    visible(&control, &caller).set_general_level(level).await?;
    LevelNew::answer(level)
}

#[utoipa::path(get, path = "/registry/config/{subject}", tag = "registry",
    params(("subject" = String, Path),
        ("defaultToGlobal" = Option<bool>, Query, description = "The general level where it has none of its own")),
    responses((status = 200, body = LevelInForce), (status = 404, body = RegistryProblem)))]
pub(crate) async fn of_subject(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    flags: Flags,
) -> RegistryResult<Response> {
    let caller = caller?;
    let schemas = visible(&control, &caller);
    let seen = caller.operator().is_some()
        || is_own(&caller, &subject)
        || !schemas.versions(&subject).await?.is_empty();
    let own = if seen {
        schemas.own_level(&subject).await?
    } else {
        None
    };
    match own {
        Some(level) => LevelInForce::answer(level),
        None if flags.has("defaultToGlobal") => {
            LevelInForce::answer(schemas.general_level().await?)
        }
        None => Err(RegistryApiError::no_level(&subject)),
    }
}

#[utoipa::path(put, path = "/registry/config/{subject}", tag = "registry",
    params(("subject" = String, Path)), request_body = LevelNew,
    responses((status = 200, body = LevelNew), (status = 403, body = RegistryProblem),
        (status = 422, body = RegistryProblem)))]
pub(crate) async fn set(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    body: Bytes,
) -> RegistryResult<Response> {
    let schemas = writable(&control, &caller?, &subject)?;
    check_subject(&subject)?;
    let level = LevelNew::parse(&body)?;
    control.trail.begun(&control.deps).await?;
    schemas.set_level(&subject, level).await?;
    LevelNew::answer(level)
}

#[utoipa::path(delete, path = "/registry/config/{subject}", tag = "registry",
    params(("subject" = String, Path)),
    responses((status = 200, description = "What it was", body = LevelInForce),
        (status = 403, body = RegistryProblem), (status = 404, body = RegistryProblem)))]
pub(crate) async fn remove(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
) -> RegistryResult<Response> {
    let schemas = writable(&control, &caller?, &subject)?;
    let own = schemas.own_level(&subject).await?;
    let level = own.ok_or_else(|| RegistryApiError::no_level(&subject))?;
    control.trail.begun(&control.deps).await?;
    schemas.remove_level(&subject).await?;
    LevelInForce::answer(level)
}
