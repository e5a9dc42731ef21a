//! What is registered.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use laneway_store::{RegisteredSchema, SchemaStore};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::access::{Flags, visible};
use super::error::{RegistryApiError, RegistryProblem, RegistryResult};
use super::register::Reference;
use super::{CONTENT_TYPE, answer, find, of_subject};
use crate::Control;
use crate::caller::Caller;
use crate::json::In;

/// A schema as registered under a subject.
#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaVersion {
    subject: String,
    version: u32,
    id: u32,
    schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
}

impl From<RegisteredSchema> for SchemaVersion {
    fn from(found: RegisteredSchema) -> Self {
        SchemaVersion {
            subject: found.subject,
            version: found.version,
            id: found.id,
            schema: found.schema,
            references: found.references.into_iter().map(Reference::from).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaText {
    schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SubjectVersion {
    subject: String,
    version: u32,
}

pub(super) async fn root(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&json!({}))
}

#[utoipa::path(get, path = "/registry/schemas/types", tag = "registry",
    responses((status = 200, body = Vec<String>)))]
pub(crate) async fn types(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&["AVRO"])
}

pub(super) async fn mode(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&json!({ "mode": "READWRITE" }))
}

#[utoipa::path(get, path = "/registry/subjects", tag = "registry",
    params(("deleted" = Option<bool>, Query, description = "Those that are deleted, too")),
    responses((status = 200, body = Vec<String>)))]
pub(crate) async fn subjects(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    flags: Flags,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    answer(&schemas.subjects(flags.has("deleted")).await?)
}

#[utoipa::path(get, path = "/registry/subjects/{subject}/versions", tag = "registry",
    params(("subject" = String, Path), ("deleted" = Option<bool>, Query)),
    responses((status = 200, body = Vec<u32>), (status = 404, body = RegistryProblem)))]
pub(crate) async fn versions(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(subject): In<String>,
    flags: Flags,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let found = of_subject(&schemas, &subject, flags.has("deleted")).await?;
    answer(&found.iter().map(|v| v.version).collect::<Vec<_>>())
}

#[utoipa::path(get, path = "/registry/subjects/{subject}/versions/{version}", tag = "registry",
    params(("subject" = String, Path), ("version" = String, Path, description = "A number, or `latest`"),
        ("deleted" = Option<bool>, Query)),
    responses((status = 200, body = SchemaVersion), (status = 404, body = RegistryProblem),
        (status = 422, body = RegistryProblem)))]
pub(crate) async fn version(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In((subject, version)): In<(String, String)>,
    flags: Flags,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let found = find(&schemas, &subject, &version, flags.has("deleted")).await?;
    answer(&SchemaVersion::from(found))
}

#[utoipa::path(get, path = "/registry/subjects/{subject}/versions/{version}/schema", tag = "registry",
    params(("subject" = String, Path), ("version" = String, Path), ("deleted" = Option<bool>, Query)),
    responses((status = 200, description = "The schema alone", body = Object),
        (status = 404, body = RegistryProblem)))]
pub(crate) async fn version_schema(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In((subject, version)): In<(String, String)>,
    flags: Flags,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let found = find(&schemas, &subject, &version, flags.has("deleted")).await?;
    let head = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    Ok((StatusCode::OK, head, found.schema).into_response())
}

#[utoipa::path(get, path = "/registry/subjects/{subject}/versions/{version}/referencedby", tag = "registry",
    params(("subject" = String, Path), ("version" = String, Path, description = "A number, or `latest`")),
    responses((status = 200, description = "Ids of schemas that refer to it", body = Vec<u32>),
        (status = 404, body = RegistryProblem), (status = 422, body = RegistryProblem)))]
pub(crate) async fn referenced_by(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In((subject, version)): In<(String, String)>,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let found = find(&schemas, &subject, &version, false).await?;
    answer(&schemas.referring(&subject, found.version).await?)
}

#[utoipa::path(get, path = "/registry/schemas/ids/{id}", tag = "registry", params(("id" = u32, Path)),
    responses((status = 200, body = SchemaText), (status = 404, body = RegistryProblem)))]
pub(crate) async fn by_id(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(id): In<String>,
) -> RegistryResult<Response> {
    let schemas = visible(&control, &caller?);
    let found = match id.parse() {
        Ok(id) => schemas.by_id(id).await?,
        Err(_) => None,
    };
    let found = found.ok_or_else(RegistryApiError::no_schema)?;
    answer(&SchemaText {
        schema: found.schema,
        references: found.references.into_iter().map(Reference::from).collect(),
    })
}

#[utoipa::path(get, path = "/registry/schemas/ids/{id}/versions", tag = "registry",
    params(("id" = u32, Path), ("deleted" = Option<bool>, Query)),
    responses((status = 200, body = Vec<SubjectVersion>), (status = 404, body = RegistryProblem)))]
pub(crate) async fn uses(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(id): In<String>,
    flags: Flags,
) -> RegistryResult<Response> {
    let found = used(&visible(&control, &caller?), &id, &flags).await?;
    let uses = found.into_iter().map(|v| SubjectVersion {
        subject: v.subject,
        version: v.version,
    });
    answer(&uses.collect::<Vec<_>>())
}

#[utoipa::path(get, path = "/registry/schemas/ids/{id}/subjects", tag = "registry",
    params(("id" = u32, Path), ("deleted" = Option<bool>, Query)),
    responses((status = 200, body = Vec<String>), (status = 404, body = RegistryProblem)))]
pub(crate) async fn subjects_of(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    In(id): In<String>,
    flags: Flags,
) -> RegistryResult<Response> {
    let found = used(&visible(&control, &caller?), &id, &flags).await?;
    answer(&found.iter().map(|v| &v.subject).collect::<Vec<_>>())
}

/// Where a schema is registered.
async fn used(
    schemas: &SchemaStore,
    id: &str,
    flags: &Flags,
) -> RegistryResult<Vec<RegisteredSchema>> {
    let mut found = match id.parse() {
        Ok(id) => schemas.uses(id).await?,
        Err(_) => Vec::new(),
    };
    if found.is_empty() {
        return Err(RegistryApiError::no_schema());
    }
    found.retain(|v| flags.has("deleted") || !v.deleted);
    Ok(found)
}
