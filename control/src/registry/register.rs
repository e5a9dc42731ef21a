//! Registering and looking up schemas.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use laneway_schemas::Registry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Flags, visible, writable};
use super::error::{RegistryApiError, RegistryProblem, RegistryResult};
use super::read::SchemaVersion;
use super::{answer, of_subject};
use crate::Control;
use crate::caller::Caller;
use crate::json::In;

const MAX_SUBJECT: usize = 255;

/// Clients send more (metadata, rules); nothing else is supported, and what it says about
/// nothing is ignored.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SchemaBody {
    schema: String,
    /// `AVRO`, where it is said.
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    /// None are supported.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    references: Vec<serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaId {
    id: u32,
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> RegistryResult<T> {
    serde_json::from_slice(body)
        .map_err(|e| RegistryApiError::bad_schema(format!("The body: {e}.")))
}

pub(super) fn schema(body: &[u8]) -> RegistryResult<String> {
    let body: SchemaBody = parse(body)?;
    if body.schema_type.is_some_and(|kind| kind != "AVRO") {
        return Err(RegistryApiError::bad_schema(
            "Only AVRO schemas are kept here.",
        ));
    }
    if !body.references.is_empty() {
        return Err(RegistryApiError::bad_schema(
            "References are not supported: write the named types out.",
        ));
    }
    Ok(body.schema)
}

pub(super) fn check_subject(subject: &str) -> RegistryResult<()> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        return Err(RegistryApiError::bad_schema(
            "A subject has 1 to 255 bytes, without control characters.",
        ));
    }
    Ok(())
}

#[utoipa::path(post, path = "/registry/subjects/{subject}/versions", tag = "registry",
    params(("subject" = String, Path, description = "A tenant's begins with its slug and a dot")),
    request_body = SchemaBody,
    responses((status = 200, body = SchemaId), (status = 403, body = RegistryProblem),
        (status = 409, description = "Not compatible", body = RegistryProblem),
        (status = 422, body = RegistryProblem)))]
pub(crate) async fn register(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    body: Bytes,
) -> RegistryResult<Response> {
    let schemas = writable(&control, &caller?, &subject)?;
    let schema = schema(&body)?;
    check_subject(&subject)?;
    control.trail.begun(&control.deps).await?;
    let id = schemas.register(&subject, &schema).await?;
    answer(&SchemaId { id })
}

#[utoipa::path(post, path = "/registry/subjects/{subject}", tag = "registry",
    params(("subject" = String, Path), ("deleted" = Option<bool>, Query)), request_body = SchemaBody,
    responses((status = 200, body = SchemaVersion), (status = 404, body = RegistryProblem)))]
pub(crate) async fn lookup(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    flags: Flags,
    body: Bytes,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let deleted = flags.has("deleted");
    of_subject(&schemas, &subject, deleted).await?;
    let found = schemas.lookup(&subject, &schema(&body)?).await?;
    let found = found.filter(|v| deleted || !v.deleted);
    let found = found.ok_or_else(RegistryApiError::no_schema)?;
    answer(&SchemaVersion::from(found))
}
