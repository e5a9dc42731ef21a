//! Registering, looking up and checking schemas.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use laneway_schemas::{Registry, RegistryError, check_backward};
use laneway_store::SchemaStore;
use laneway_tenancy::Grant;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::{RegistryApiError, RegistryResult};
use super::{answer, find, of_subject, view, visible};
use crate::Control;
use crate::caller::Caller;

const MAX_SUBJECT: usize = 255;

/// Clients send more (metadata, rules); nothing else is supported, and what it says about
/// nothing is ignored.
#[derive(Deserialize)]
struct SchemaBody {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct ConfigBody {
    compatibility: String,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> RegistryResult<T> {
    serde_json::from_slice(body)
        .map_err(|e| RegistryApiError::bad_schema(format!("The body: {e}.")))
}

fn schema(body: &[u8]) -> RegistryResult<String> {
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

pub(super) async fn register(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path(subject): Path<String>,
    body: Bytes,
) -> RegistryResult<Response> {
    let caller = caller?;
    let schemas = registrar(&control, &caller, &subject)?;
    let schema = schema(&body)?;
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        return Err(RegistryApiError::bad_schema(
            "A subject has 1 to 255 bytes, without control characters.",
        ));
    }
    let id = schemas.register(&subject, &schema).await?;
    answer(&json!({ "id": id }))
}

/// The registry as the caller may write this subject.
fn registrar(control: &Control, caller: &Caller, subject: &str) -> RegistryResult<SchemaStore> {
    if caller.operator().is_some() {
        return Ok(control.deps.store.schemas());
    }
    if let Caller::Tenant(caller) = caller {
        let own = subject
            .strip_prefix(caller.tenant.slug.as_str())
            .is_some_and(|rest| rest.starts_with('.'));
        if own && caller.scope.may(Grant::TenantAdmin) {
            return Ok(control.deps.store.tenant_schemas(&caller.scope));
        }
    }
    Err(RegistryApiError::forbidden(
        "A tenant registers subjects that begin with its slug and a dot, with a key that has the grant tenant:admin.",
    ))
}

pub(super) async fn lookup(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path(subject): Path<String>,
    body: Bytes,
) -> RegistryResult<Response> {
    let caller = caller?;
    let schemas = visible(&control, &caller);
    of_subject(&schemas, &subject).await?;
    let found = schemas.lookup(&subject, &schema(&body)?).await?;
    answer(&view(&found.ok_or_else(RegistryApiError::no_schema)?))
}

pub(super) async fn compatible_with_latest(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path(subject): Path<String>,
    body: Bytes,
) -> RegistryResult<Response> {
    compatible(caller, control, Path((subject, "latest".to_owned())), body).await
}

pub(super) async fn compatible(
    caller: RegistryResult<Caller>,
    control: Arc<Control>,
    Path((subject, version)): Path<(String, String)>,
    body: Bytes,
) -> RegistryResult<Response> {
    let caller = caller?;
    let new = schema(&body)?;
    let old = find(&visible(&control, &caller), &subject, &version).await?;
    match check_backward(&subject, &old.schema, &new) {
        Ok(()) => answer(&json!({ "is_compatible": true })),
        Err(RegistryError::Incompatible { reason, .. }) => {
            answer(&json!({ "is_compatible": false, "messages": [reason] }))
        }
        Err(other) => Err(other.into()),
    }
}

pub(super) async fn set_config(
    caller: RegistryResult<Caller>,
    body: Bytes,
) -> RegistryResult<Response> {
    if caller?.operator().is_none() {
        return Err(RegistryApiError::forbidden("This takes an operator's key."));
    }
    let body: ConfigBody = parse(&body)?;
    if body.compatibility != "BACKWARD" {
        return Err(RegistryApiError::bad_level());
    }
    answer(&json!({ "compatibility": "BACKWARD" }))
}
