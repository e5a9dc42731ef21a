//! A Confluent-compatible schema registry, under `/registry`.
//!
//! Everyone with credentials reads the shared contracts and its own subjects. A tenant registers
//! under its own prefix (`{slug}.`); anything else is refused alike, whether it exists or not.

mod error;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use laneway_store::{RegisteredSchema, SchemaStore};
use serde::Serialize;
use serde_json::json;

use crate::Control;
use crate::caller::{App, Caller};
use error::{RegistryApiError, RegistryResult};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(root))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(write::lookup))
        .route(
            "/subjects/{subject}/versions",
            get(versions).post(write::register),
        )
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route(
            "/subjects/{subject}/versions/{version}/schema",
            get(version_schema),
        )
        .route("/schemas/ids/{id}", get(by_id))
        .route("/schemas/types", get(types))
        .route(
            "/compatibility/subjects/{subject}/versions",
            post(write::compatible_with_latest),
        )
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(write::compatible),
        )
        .route("/config", get(config).put(write::set_config))
        .route("/config/{subject}", get(config).put(write::set_config))
        .route("/mode", get(mode))
}

/// What the caller may see.
fn visible(control: &Control, caller: &Caller) -> SchemaStore {
    match (caller.operator(), caller) {
        (None, Caller::Tenant(caller)) => control.deps.store.tenant_schemas(&caller.scope),
        _ => control.deps.store.schemas(),
    }
}

fn answer<T: Serialize>(value: &T) -> RegistryResult<Response> {
    let body = serde_json::to_vec(value).map_err(|e| RegistryApiError::internal(&e.to_string()))?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response())
}

async fn root(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&json!({}))
}

async fn types(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&["AVRO"])
}

async fn mode(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&json!({ "mode": "READWRITE" }))
}

async fn config(caller: RegistryResult<Caller>) -> RegistryResult<Response> {
    caller?;
    answer(&json!({ "compatibilityLevel": "BACKWARD" }))
}

async fn subjects(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
) -> RegistryResult<Response> {
    let caller = caller?;
    answer(&visible(&control, &caller).subjects().await?)
}

async fn versions(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path(subject): Path<String>,
) -> RegistryResult<Response> {
    let caller = caller?;
    let found = of_subject(&visible(&control, &caller), &subject).await?;
    answer(&found.iter().map(|v| v.version).collect::<Vec<_>>())
}

async fn version(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path((subject, version)): Path<(String, String)>,
) -> RegistryResult<Response> {
    let caller = caller?;
    answer(&view(
        &find(&visible(&control, &caller), &subject, &version).await?,
    ))
}

async fn version_schema(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path((subject, version)): Path<(String, String)>,
) -> RegistryResult<Response> {
    let caller = caller?;
    let found = find(&visible(&control, &caller), &subject, &version).await?;
    Ok((
        StatusCode::OK,
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        found.schema,
    )
        .into_response())
}

async fn by_id(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path(id): Path<String>,
) -> RegistryResult<Response> {
    let caller = caller?;
    let found = match id.parse() {
        Ok(id) => visible(&control, &caller).by_id(id).await?,
        Err(_) => None,
    };
    answer(&json!({ "schema": found.ok_or_else(RegistryApiError::no_schema)? }))
}

fn view(found: &RegisteredSchema) -> serde_json::Value {
    json!({ "subject": found.subject, "version": found.version, "id": found.id, "schema": found.schema })
}

async fn of_subject(schemas: &SchemaStore, subject: &str) -> RegistryResult<Vec<RegisteredSchema>> {
    let found = schemas.versions(subject).await?;
    if found.is_empty() {
        Err(RegistryApiError::no_subject(subject))
    } else {
        Ok(found)
    }
}

/// `version` is a number, `latest` or `-1`.
async fn find(
    schemas: &SchemaStore,
    subject: &str,
    version: &str,
) -> RegistryResult<RegisteredSchema> {
    let mut found = of_subject(schemas, subject).await?;
    if version == "latest" || version == "-1" {
        return found
            .pop()
            .ok_or_else(|| RegistryApiError::no_subject(subject));
    }
    let number: u32 = version
        .parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| RegistryApiError::bad_version(version))?;
    found
        .into_iter()
        .find(|v| v.version == number)
        .ok_or_else(|| RegistryApiError::no_version(number))
}
