//! A Confluent-compatible schema registry, under `/registry`.
//!
//! Everyone with credentials reads the shared contracts and its own subjects. A tenant writes
//! under its own prefix (`{slug}.`); anything else is refused alike, whether it exists or not.

mod access;
pub(crate) mod compatibility;
pub(crate) mod delete;
mod error;
pub(crate) mod levels;
pub(crate) mod read;
pub(crate) mod register;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use laneway_store::{RegisteredSchema, SchemaStore};
use serde::Serialize;

use crate::caller::App;
use error::{RegistryApiError, RegistryResult};

pub(crate) const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(read::root))
        .route("/subjects", get(read::subjects))
        .route(
            "/subjects/{subject}",
            post(register::lookup).delete(delete::subject),
        )
        .route(
            "/subjects/{subject}/versions",
            get(read::versions).post(register::register),
        )
        .route(
            "/subjects/{subject}/versions/{version}",
            get(read::version).delete(delete::version),
        )
        .route(
            "/subjects/{subject}/versions/{version}/schema",
            get(read::version_schema),
        )
        .route(
            "/subjects/{subject}/versions/{version}/referencedby",
            get(read::referenced_by),
        )
        .route("/schemas/ids/{id}", get(read::by_id))
        .route("/schemas/ids/{id}/versions", get(read::uses))
        .route("/schemas/ids/{id}/subjects", get(read::subjects_of))
        .route("/schemas/types", get(read::types))
        .route(
            "/compatibility/subjects/{subject}/versions",
            post(compatibility::with_subject),
        )
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(compatibility::with_version),
        )
        .route("/config", get(levels::general).put(levels::set_general))
        .route(
            "/config/{subject}",
            get(levels::of_subject)
                .put(levels::set)
                .delete(levels::remove),
        )
        .route("/mode", get(read::mode))
}

fn answer<T: Serialize>(value: &T) -> RegistryResult<Response> {
    let body = serde_json::to_vec(value).map_err(|e| RegistryApiError::internal(&e.to_string()))?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response())
}

/// Versions of a subject, oldest first; with `deleted` those that are, too.
async fn of_subject(
    schemas: &SchemaStore,
    subject: &str,
    deleted: bool,
) -> RegistryResult<Vec<RegisteredSchema>> {
    let mut found = schemas.versions(subject).await?;
    found.retain(|v| deleted || !v.deleted);
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
    deleted: bool,
) -> RegistryResult<RegisteredSchema> {
    let mut found = of_subject(schemas, subject, deleted).await?;
    match number(version)? {
        None => found
            .pop()
            .ok_or_else(|| RegistryApiError::no_subject(subject)),
        Some(number) => found
            .into_iter()
            .find(|v| v.version == number)
            .ok_or_else(|| RegistryApiError::no_version(number)),
    }
}

/// None is the latest.
fn number(version: &str) -> RegistryResult<Option<u32>> {
    if version == "latest" || version == "-1" {
        return Ok(None);
    }
    version
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .map(Some)
        .ok_or_else(|| RegistryApiError::bad_version(version))
}
