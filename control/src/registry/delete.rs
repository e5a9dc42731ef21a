//! Deleting versions and subjects: left out at first, then for good.

use std::sync::Arc;

use axum::response::Response;
use laneway_store::Deletion;

use super::access::{Flags, writable};
use super::error::{RegistryApiError, RegistryProblem, RegistryResult};
use super::{answer, find, number};
use crate::Control;
use crate::caller::Caller;
use crate::json::In;

#[utoipa::path(delete, path = "/registry/subjects/{subject}", tag = "registry",
    params(("subject" = String, Path),
        ("permanent" = Option<bool>, Query, description = "For good, what was deleted before")),
    responses((status = 200, description = "The versions", body = Vec<u32>),
        (status = 403, body = RegistryProblem), (status = 404, body = RegistryProblem),
        (status = 422, description = "Schemas refer to it", body = RegistryProblem)))]
pub(crate) async fn subject(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    flags: Flags,
) -> RegistryResult<Response> {
    let schemas = writable(&control, &caller?, &subject)?;
    control.trail.begun(&control.deps).await?;
    match schemas
        .delete(&subject, None, flags.has("permanent"))
        .await?
    {
        Deletion::Done(versions) => answer(&versions),
        Deletion::Unknown => Err(RegistryApiError::no_subject(&subject)),
        Deletion::DeletedBefore => Err(RegistryApiError::subject_deleted(&subject)),
        Deletion::NotDeletedBefore => Err(RegistryApiError::subject_not_deleted(&subject)),
        Deletion::ReferredTo(version) => Err(RegistryApiError::referred_to(&subject, version)),
    }
}

#[utoipa::path(delete, path = "/registry/subjects/{subject}/versions/{version}", tag = "registry",
    params(("subject" = String, Path), ("version" = String, Path, description = "A number, or `latest`"),
        ("permanent" = Option<bool>, Query, description = "For good, what was deleted before")),
    responses((status = 200, description = "The version", body = u32),
        (status = 403, body = RegistryProblem), (status = 404, body = RegistryProblem),
        (status = 422, description = "It is no version, or schemas refer to it", body = RegistryProblem)))]
pub(crate) async fn version(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In((subject, version)): In<(String, String)>,
    flags: Flags,
) -> RegistryResult<Response> {
    let schemas = writable(&control, &caller?, &subject)?;
    let permanent = flags.has("permanent");
    let version = match number(&version)? {
        Some(number) => number,
        None => find(&schemas, &subject, "latest", permanent).await?.version,
    };
    control.trail.begun(&control.deps).await?;
    match schemas.delete(&subject, Some(version), permanent).await? {
        Deletion::Done(_) => answer(&version),
        Deletion::Unknown if schemas.versions(&subject).await?.is_empty() => {
            Err(RegistryApiError::no_subject(&subject))
        }
        Deletion::Unknown => Err(RegistryApiError::no_version(version)),
        Deletion::DeletedBefore => Err(RegistryApiError::version_deleted(&subject, version)),
        Deletion::NotDeletedBefore => Err(RegistryApiError::version_not_deleted(&subject, version)),
        Deletion::ReferredTo(version) => Err(RegistryApiError::referred_to(&subject, version)),
    }
}
