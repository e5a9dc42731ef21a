//! The routes. A tenant's own (`/devices`, `/keys`, `/destinations`) exist a second time under
//! `/tenants/{tenant}`, where the operator acts for the tenant that the path names, and a tenant
//! for itself and its namespaces.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod dead_letters;
pub(crate) mod destinations;
pub(crate) mod devices;
pub(crate) mod enrol;
pub(crate) mod grants;
pub(crate) mod hosts;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod notices;
pub(crate) mod operator;
pub(crate) mod page;
pub(crate) mod personal;
pub(crate) mod positions;
pub(crate) mod provisioning;
pub(crate) mod quarantine;
pub(crate) mod refused;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod tenants;
pub(crate) mod usage;
pub(crate) mod wanted;

use std::sync::Weak;

use axum::Router;
use axum::routing::{delete, get, post, put};
use laneway_runtime::Problem;

use crate::Control;
use crate::caller::App;
use crate::{idempotency, registry, trail};

/// Every route, for the test that walks them and for the OpenAPI check.
pub(crate) fn router(control: Weak<Control>) -> Router {
    Router::new()
        .route("/tenants", post(tenants::create).get(tenants::list))
        .route("/admin/tenants", post(tenants::admin::register))
        .route(
            "/tenants/{tenant}",
            get(tenants::manage::find).put(tenants::manage::change),
        )
        .route("/tenants/{tenant}/slug", put(tenants::manage::rename))
        .route("/tenants/{tenant}/closure", get(tenants::closure::find))
        .route("/tenants/{tenant}/state", put(tenants::manage::set_state))
        .route("/tenants/{tenant}/limits", put(tenants::manage::set_limits))
        .route(
            "/tenants/{tenant}/tenants",
            post(tenants::below::create).get(tenants::below::list),
        )
        .route(
            "/partners",
            post(tenants::partners::create).get(tenants::partners::list),
        )
        .route("/operator/keys", post(operator::create_key))
        .route("/operator/secrets/rotate", post(secrets::rotate))
        .route("/operator/lag", get(operator::lag))
        .route("/operator/notices", post(notices::give))
        .route("/operator/usage", get(usage::of_all))
        .route("/operator/backup", post(operator::backup))
        .route("/operator/quarantine", get(quarantine::list))
        .route("/operator/quarantine/redrive", post(quarantine::redrive))
        .route("/enrol", post(enrol::enrol))
        .merge(of_tenant())
        .nest("/tenants/{tenant}", of_tenant())
        .nest("/registry", registry::router())
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                http::StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The resource has no such method",
                "",
            )
        })
        .layer(axum::middleware::from_fn_with_state(
            App(control.clone()),
            idempotency::layer,
        ))
        // Around all others: it sees what they answer.
        .layer(axum::middleware::from_fn_with_state(
            App(control.clone()),
            trail::record,
        ))
        .with_state(App(control))
}

fn of_tenant() -> Router<App> {
    Router::new()
        .route("/tenant", get(tenants::own::find))
        .route(
            "/namespaces",
            post(tenants::namespaces::create).get(tenants::namespaces::list),
        )
        .route("/config", get(config::list))
        .route(
            "/config/{key}",
            get(config::find).put(config::set).delete(config::remove),
        )
        .route("/devices", post(devices::create).get(devices::list))
        .route(
            "/devices/{device}",
            get(devices::find)
                .patch(devices::change)
                .delete(devices::remove)
                // `/devices/bulk`: a device may be called so all the same.
                .post(bulk::register),
        )
        .route("/devices/{device}/refused", get(refused::list))
        .route(
            "/devices/{device}/personal",
            get(personal::export).delete(personal::erase),
        )
        .route(
            "/provisioning-keys",
            post(provisioning::create).get(provisioning::list),
        )
        .route(
            "/provisioning-keys/{provisioning_key}",
            delete(provisioning::remove),
        )
        .route(
            "/devices/{device}/credentials",
            post(credentials::create).get(credentials::list),
        )
        .route(
            "/devices/{device}/credentials/{credential}",
            delete(credentials::remove),
        )
        .route("/devices/{device}/position", get(positions::latest))
        .route("/devices/{device}/sessions", get(positions::sessions))
        .route("/audit", get(audit::list))
        .route("/audit/export", get(audit::export))
        .route("/usage", get(usage::find))
        .route("/grants", post(grants::create).get(grants::list))
        .route("/grants/{grant}", get(grants::find).delete(grants::remove))
        .route("/partner/grants", get(grants::granted))
        .route("/hosts", post(hosts::create).get(hosts::list))
        .route("/hosts/{host}", get(hosts::find).delete(hosts::remove))
        .route("/hosts/{host}/verify", post(hosts::verify))
        .route("/hosts/{host}/certificate", put(hosts::set_certificate))
        .route("/keys", post(keys::create).get(keys::list))
        .route(
            "/keys/{key}",
            get(keys::find).patch(keys::change).delete(keys::remove),
        )
        .route("/keys/{key}/rotate", post(keys::rotate::rotate))
        .route(
            "/service-accounts",
            post(accounts::create).get(accounts::list),
        )
        .route(
            "/service-accounts/{account}",
            get(accounts::find)
                .patch(accounts::change)
                .delete(accounts::remove),
        )
        .route(
            "/destinations",
            post(destinations::create).get(destinations::list),
        )
        .route(
            "/destinations/{destination}",
            get(destinations::find)
                .patch(destinations::change)
                .delete(destinations::remove),
        )
        .route("/destinations/{destination}/status", get(status::find))
        .route(
            "/destinations/{destination}/dead-letters",
            get(dead_letters::list),
        )
        .route(
            "/destinations/{destination}/dead-letters/redrive",
            post(dead_letters::redrive),
        )
}
