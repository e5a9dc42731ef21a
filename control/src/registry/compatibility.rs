//! Whether a schema could be registered.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use laneway_schemas::RegistryError;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Flags, visible};
use super::error::{RegistryProblem, RegistryResult};
use super::register::{SchemaBody, Sent};
use super::{answer, find};
use crate::Control;
use crate::caller::Caller;
use crate::json::In;

#[derive(Serialize, ToSchema)]
pub(crate) struct Compatible {
    is_compatible: bool,
    /// Why not, where the query says `verbose=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<String>>,
}

#[utoipa::path(post, path = "/registry/compatibility/subjects/{subject}/versions", tag = "registry",
    description = "Against what the subject's level asks for",
    params(("subject" = String, Path), ("verbose" = Option<bool>, Query)), request_body = SchemaBody,
    responses((status = 200, body = Compatible), (status = 422, body = RegistryProblem)))]
pub(crate) async fn with_subject(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    flags: Flags,
    body: Bytes,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let new = Sent::read(&body, &schemas).await?;
    let mut versions = schemas.versions(&subject).await?;
    versions.retain(|v| !v.deleted);
    let checked = schemas.check(&subject, &versions, new.as_new()).await;
    say(checked, &flags)
}

#[utoipa::path(post, path = "/registry/compatibility/subjects/{subject}/versions/{version}", tag = "registry",
    description = "Against one version, in the direction of the subject's level",
    params(("subject" = String, Path), ("version" = String, Path, description = "A number, or `latest`"),
        ("verbose" = Option<bool>, Query)),
    request_body = SchemaBody,
    responses((status = 200, body = Compatible), (status = 404, body = RegistryProblem),
        (status = 422, body = RegistryProblem)))]
pub(crate) async fn with_version(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In((subject, version)): In<(String, String)>,
    flags: Flags,
    body: Bytes,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let new = Sent::read(&body, &schemas).await?;
    let old = find(&schemas, &subject, &version, false).await?;
    let checked = schemas.check(&subject, &[old], new.as_new()).await;
    say(checked, &flags)
}

fn say(checked: Result<(), RegistryError>, flags: &Flags) -> RegistryResult<Response> {
    let verbose = flags.has("verbose");
    match checked {
        Ok(()) => answer(&Compatible {
            is_compatible: true,
            messages: verbose.then(Vec::new),
        }),
        Err(RegistryError::Incompatible { reason, .. }) => answer(&Compatible {
            is_compatible: false,
            messages: verbose.then(|| vec![reason]),
        }),
        Err(other) => Err(other.into()),
    }
}
