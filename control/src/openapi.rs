//! The OpenAPI description, generated from the handlers. `docs/openapi/control.json` is a copy.

use utoipa::OpenApi;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, PathItem, RefOr, Required, SecurityRequirement, Type};

use crate::api::{
    accounts, audit, bulk, config, credentials, dead_letters, destinations, devices, enrol, grants,
    hosts, keys, notices, operator, personal, positions, provisioning, quarantine, refused,
    secrets, status, tenants, usage,
};
use crate::registry::{self, compatibility, delete, levels, read, register};

const REGISTRY: &str = "/registry";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Laneway control API",
        description = "Tenants and their namespaces, partners and what is granted to them, devices, credentials, keys, destinations, what is known of devices, and the schemas of the embedded registry. Errors are problem details (RFC 9457); those of the registry have the form that its clients know.",
        license(name = "MIT")
    ),
    paths(
        tenants::create,
        tenants::admin::register,
        tenants::list,
        tenants::manage::find,
        tenants::manage::change,
        tenants::manage::rename,
        tenants::manage::set_state,
        tenants::manage::set_limits,
        tenants::below::create,
        tenants::below::list,
        tenants::closure::find,
        tenants::own::find,
        tenants::namespaces::create,
        tenants::namespaces::list,
        tenants::partners::create,
        tenants::partners::list,
        config::list,
        config::find,
        config::set,
        config::remove,
        operator::create_key,
        operator::lag,
        notices::give,
        usage::of_all,
        operator::backup,
        quarantine::list,
        quarantine::redrive,
        devices::create,
        devices::list,
        devices::find,
        devices::change,
        devices::remove,
        bulk::register,
        refused::list,
        provisioning::create,
        provisioning::list,
        provisioning::remove,
        enrol::enrol,
        credentials::create,
        credentials::list,
        credentials::remove,
        personal::export,
        personal::erase,
        positions::latest,
        positions::sessions,
        audit::list,
        audit::export,
        secrets::rotate,
        keys::create,
        keys::list,
        keys::find,
        keys::change,
        keys::rotate::rotate,
        keys::remove,
        accounts::create,
        accounts::list,
        accounts::find,
        accounts::change,
        accounts::remove,
        grants::create,
        grants::list,
        grants::find,
        grants::remove,
        grants::granted,
        hosts::create,
        hosts::list,
        hosts::find,
        hosts::remove,
        hosts::verify,
        hosts::set_certificate,
        destinations::create,
        destinations::list,
        destinations::find,
        destinations::change,
        destinations::remove,
        status::find,
        dead_letters::list,
        dead_letters::redrive,
        usage::find,
        read::types,
        read::by_id,
        read::uses,
        read::subjects_of,
        read::subjects,
        read::versions,
        read::version,
        read::version_schema,
        read::referenced_by,
        register::lookup,
        register::register,
        delete::subject,
        delete::version,
        compatibility::with_subject,
        compatibility::with_version,
        levels::general,
        levels::set_general,
        levels::of_subject,
        levels::set,
        levels::remove,
    )
)]
struct Description;

/// The description, as JSON with a final line end.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut api = Description::openapi();
    under_tenants(&mut api);
    registry_types(&mut api);
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
        .filter(|(path, _)| {
            let all = [
                "/tenants",
                "/admin",
                "/partners",
                "/operator",
                "/enrol",
                REGISTRY,
            ];
            !all.iter().any(|start| path.starts_with(start))
        })
        .map(|(path, item)| (format!("/tenants/{{tenant}}{path}"), item.clone()))
        .collect();
    for (path, mut item) in own {
        for operation in [
            &mut item.get,
            &mut item.post,
            &mut item.put,
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

/// The registry answers with a media type of its own.
fn registry_types(api: &mut utoipa::openapi::OpenApi) {
    let items = api.paths.paths.iter_mut();
    for (_, item) in items.filter(|(path, _)| path.starts_with(REGISTRY)) {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.delete,
        ];
        let responses = operations
            .into_iter()
            .flatten()
            .flat_map(|operation| operation.responses.responses.values_mut());
        for response in responses {
            if let RefOr::T(response) = response
                && let Some(content) = response.content.swap_remove("application/json")
            {
                response
                    .content
                    .insert(registry::CONTENT_TYPE.to_owned(), content);
            }
        }
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
