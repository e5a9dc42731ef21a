//! Registering and looking up schemas.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use laneway_store::{NewSchema, SchemaReference, SchemaStore};
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

/// References of one schema.
const MAX_REFERENCES: usize = 64;

/// Clients send more (metadata, rules); nothing else is supported, and what it says about
/// nothing is ignored.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SchemaBody {
    schema: String,
    /// `AVRO`, where it is said.
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    /// Where the types are that the schema names without defining them: at most 64.
    references: Option<Vec<Reference>>,
}

/// Where a type is that a schema names without defining it.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Reference {
    /// The type's full name.
    name: String,
    subject: String,
    /// -1, in a request, for the latest.
    version: i64,
}

impl From<SchemaReference> for Reference {
    fn from(found: SchemaReference) -> Self {
        Reference {
            name: found.name,
            subject: found.subject,
            version: found.version.into(),
        }
    }
}

impl Reference {
    async fn resolve(self, schemas: &SchemaStore) -> RegistryResult<SchemaReference> {
        let version = match self.version {
            -1 => {
                let found = schemas.versions(&self.subject).await?;
                let kept = found.iter().rfind(|v| !v.deleted);
                kept.map(|latest| latest.version)
            }
            version => u32::try_from(version).ok(),
        };
        let version = version.ok_or_else(|| {
            RegistryApiError::bad_schema(format!(
                "There is no version {} of the subject {:?}, which is referred to.",
                self.version, self.subject
            ))
        })?;
        Ok(SchemaReference {
            name: self.name,
            subject: self.subject,
            version,
        })
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaId {
    id: u32,
}

/// A schema as it was sent.
pub(super) struct Sent {
    schema: String,
    references: Vec<SchemaReference>,
}

impl Sent {
    /// The latest version of what is referred to is looked for among what may be seen.
    pub(super) async fn read(body: &[u8], schemas: &SchemaStore) -> RegistryResult<Self> {
        let body: SchemaBody = parse(body)?;
        if body.schema_type.is_some_and(|kind| kind != "AVRO") {
            return Err(RegistryApiError::bad_schema(
                "Only AVRO schemas are kept here.",
            ));
        }
        let sent = body.references.unwrap_or_default();
        if sent.len() > MAX_REFERENCES {
            return Err(RegistryApiError::bad_schema(format!(
                "A schema has at most {MAX_REFERENCES} references."
            )));
        }
        let mut references = Vec::with_capacity(sent.len());
        for reference in sent {
            references.push(reference.resolve(schemas).await?);
        }
        Ok(Sent {
            schema: body.schema,
            references,
        })
    }

    pub(super) fn as_new(&self) -> NewSchema<'_> {
        NewSchema {
            schema: &self.schema,
            references: &self.references,
        }
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> RegistryResult<T> {
    serde_json::from_slice(body)
        .map_err(|e| RegistryApiError::bad_schema(format!("The body: {e}.")))
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
    let sent = Sent::read(&body, &schemas).await?;
    check_subject(&subject)?;
    control.trail.begun(&control.deps).await?;
    let id = schemas.add(&subject, sent.as_new()).await?;
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
    let sent = Sent::read(&body, &schemas).await?;
    let found = schemas.lookup(&subject, sent.as_new()).await?;
    let found = found.filter(|v| deleted || !v.deleted);
    let found = found.ok_or_else(RegistryApiError::no_schema)?;
    answer(&SchemaVersion::from(found))
}
