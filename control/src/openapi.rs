//! The OpenAPI description, generated from the handlers. `docs/openapi/control.json` is a copy.

use utoipa::OpenApi;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, PathItem, RefOr, Required, SecurityRequirement, Type};

use crate::api::{
    credentials, destinations, devices, keys, operator, positions, quarantine, tenants,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Laneway control API",
        description = "Tenants, devices, credentials, keys, destinations, and what is known of devices. Errors are problem details (RFC 9457).",
        license(name = "MIT")
    ),
    paths(
        tenants::create,
        tenants::list,
        tenants::find,
        tenants::set_state,
        tenants::set_limits,
        operator::create_key,
        operator::lag,
        operator::backup,
        quarantine::list,
        quarantine::redrive,
        devices::create,
        devices::list,
        devices::find,
        devices::remove,
        credentials::create,
        credentials::list,
        credentials::remove,
        positions::latest,
        positions::sessions,
        keys::create,
        keys::list,
        keys::remove,
        destinations::create,
        destinations::list,
        destinations::find,
        destinations::change,
        destinations::remove,
    )
)]
struct Description;

/// The description, as JSON with a final line end.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut api = Description::openapi();
    under_tenants(&mut api);
    if let Some(components) = api.components.as_mut() {
        let http = |scheme| SecurityScheme::Http(Http::new(scheme));
        components.add_security_scheme("bearer", http(HttpAuthScheme::Bearer));
        components.add_security_scheme("basic", http(HttpAuthScheme::Basic));
    }
    let none: [&str; 0] = [];
    api.security = Some(vec![
        SecurityRequirement::new("bearer", none),
        SecurityRequirement::new("basic", none),
    ]);
    let mut json = api.to_pretty_json()?;
    json.push('\n');
    Ok(json)
}

/// A tenant's own routes exist once more for the operator.
fn under_tenants(api: &mut utoipa::openapi::OpenApi) {
    let own: Vec<(String, PathItem)> = api
        .paths
        .paths
        .iter()
        .filter(|(path, _)| !path.starts_with("/tenants") && !path.starts_with("/operator"))
        .map(|(path, item)| (format!("/tenants/{{tenant}}{path}"), item.clone()))
        .collect();
    for (path, mut item) in own {
        for operation in [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ]
        .into_iter()
        .flatten()
        {
            operation
                .parameters
                .get_or_insert_default()
                .push(RefOr::T(tenant_parameter()));
            operation.operation_id = operation
                .operation_id
                .as_ref()
                .map(|id| format!("{id}_for_tenant"));
            operation.tags = Some(vec!["operator".to_owned()]);
        }
        api.paths.paths.insert(path, item);
    }
}

fn tenant_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("tenant")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The tenant's id or its slug"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
