//! Who calls: extracted before a handler runs, so that none runs without.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use axum::extract::{FromRequestParts, MatchedPath, Path};
use http::header;
use http::request::Parts;
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::Tenant;
use laneway_tenancy::{Authenticated, Grant, OperatorScope, TenantScope};

use crate::Control;
use crate::error::{ApiError, ApiResult};

/// The state of the router. It does not keep the role alive.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Weak<Control>);

impl App {
    pub(crate) fn control(&self) -> ApiResult<Arc<Control>> {
        self.0
            .upgrade()
            .ok_or_else(|| Problem::unavailable("The server is stopping.").into())
    }
}

impl FromRequestParts<App> for Arc<Control> {
    type Rejection = ApiError;

    async fn from_request_parts(_: &mut Parts, app: &App) -> ApiResult<Self> {
        app.control()
    }
}

/// Anyone with valid credentials, or the operator over the local socket.
pub(crate) enum Caller {
    Tenant(Authenticated),
    LocalOperator(OperatorScope),
}

impl Caller {
    pub(crate) fn operator(&self) -> Option<OperatorScope> {
        match self {
            Caller::Tenant(caller) => OperatorScope::of(caller),
            Caller::LocalOperator(operator) => Some(operator.clone()),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let control = app.control()?;
        let peer = parts.extensions.get::<Peer>();
        let authorization = parts
            .headers
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes());
        let local = peer.is_some_and(|p| p.local_operator) && authorization.is_none();
        if let (true, Some(proof)) = (local, &control.deps.local_socket) {
            return Ok(Caller::LocalOperator(OperatorScope::local(proof)));
        }
        let address = peer.and_then(|p| p.address);
        let authenticated = control
            .deps
            .authenticator
            .authenticate(authorization, address)
            .await?;
        if let Some(route) = parts.extensions.get::<MatchedPath>() {
            control
                .requests
                .count(&authenticated.tenant, route.as_str());
        }
        Ok(Caller::Tenant(authenticated))
    }
}

/// The operator.
pub(crate) struct Operator(pub(crate) OperatorScope);

impl FromRequestParts<App> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let operator = caller
            .operator()
            .ok_or_else(|| Problem::forbidden("This takes an operator's key."))?;
        Ok(Operator(operator))
    }
}

/// A tenant in whose name a request acts: the caller's own, or on `/tenants/{tenant}/…` the one
/// that the operator names there.
pub(crate) struct Acting {
    pub(crate) scope: TenantScope,
    pub(crate) slug: String,
}

impl Acting {
    pub(crate) fn may(&self, grant: Grant) -> ApiResult<&TenantScope> {
        if self.scope.may(grant) {
            Ok(&self.scope)
        } else {
            Err(
                Problem::forbidden(format!("This takes a key with the grant {}.", grant.name()))
                    .into(),
            )
        }
    }
}

impl FromRequestParts<App> for Acting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let named = path.ok().and_then(|Path(mut parts)| parts.remove("tenant"));
        match (named, caller) {
            (Some(name), caller) => {
                let operator = caller
                    .operator()
                    .ok_or_else(|| Problem::forbidden("This takes an operator's key."))?;
                let tenant = find_tenant(&*app.control()?, &operator, &name).await?;
                Ok(Acting {
                    scope: operator.scope(tenant.id),
                    slug: tenant.body.slug,
                })
            }
            (None, Caller::Tenant(caller)) => Ok(Acting {
                slug: caller.tenant.slug.clone(),
                scope: caller.scope,
            }),
            (None, Caller::LocalOperator(_)) => Err(Problem::bad_request(
                "The operator acts for a tenant that the path names: /tenants/{tenant}/….",
            )
            .into()),
        }
    }
}

/// By id or slug.
pub(crate) async fn find_tenant(
    control: &Control,
    operator: &OperatorScope,
    name: &str,
) -> ApiResult<Tenant> {
    let tenants = control.deps.store.tenants(operator);
    let found = match name.parse() {
        Ok(id) => tenants.find(id).await?,
        Err(_) => tenants.by_slug(name).await?,
    };
    found.ok_or_else(ApiError::not_found)
}
