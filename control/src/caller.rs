//! Who calls: extracted before a handler runs, so that none runs without.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use axum::extract::{FromRequestParts, MatchedPath, Path};
use http::StatusCode;
use http::header;
use http::request::Parts;
use laneway_directory::{Directory, TenantEntry};
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::Tenant;
use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{Authenticated, Claim, Grant, Grants, OperatorScope, TenantScope};

use crate::error::{ApiError, ApiResult};
use crate::{Control, trail};

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
#[derive(Clone)]
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
        // A layer may have asked before the handler: a request is counted once.
        if let Some(known) = parts.extensions.get::<Caller>() {
            return Ok(known.clone());
        }
        let caller = Caller::find(parts, app).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl Caller {
    async fn find(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let control = app.control()?;
        let peer = parts.extensions.get::<Peer>();
        let authorization = parts
            .headers
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes());
        let local = peer.is_some_and(|p| p.local_operator) && authorization.is_none();
        if let (true, Some(proof)) = (local, &control.deps.local_socket) {
            trail::known(parts, None);
            return Ok(Caller::LocalOperator(OperatorScope::local(proof)));
        }
        let address = peer.and_then(|p| p.address);
        let authenticated = control
            .deps
            .authenticator
            .authenticate(authorization, address)
            .await;
        if let Ok(known) = &authenticated {
            trail::known(parts, Some(&known.scope));
            control.rates.of_key(known, control.deps.clock.now_us())?;
        }
        if let Some(named) = parts.extensions.get::<laneway_hosts::Named>() {
            trail::names(parts, &named.name);
        }
        let directory = &control.deps.directory;
        let admitted = laneway_hosts::admit(directory, &parts.extensions, address, authenticated);
        let authenticated = admitted.map_err(Problem::from)?;
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
/// that the path names: for the operator any, for others their own, a namespace of it, or a
/// tenant below it that lets itself be read.
pub(crate) struct Acting {
    pub(crate) scope: TenantScope,
    pub(crate) slug: String,
}

impl Acting {
    pub(crate) fn may(&self, grant: Grant) -> ApiResult<&TenantScope> {
        may(&self.scope, grant)?;
        Ok(&self.scope)
    }
}

pub(crate) fn may(scope: &TenantScope, grant: Grant) -> ApiResult<()> {
    if scope.may(grant) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("This takes a key with the grant {}.", grant.name())).into())
}

/// Refuses what is of use only where credentials tell who asks: other tenants, and the operator's
/// keys, which would open everything once authentication is on.
pub(crate) fn takes_authentication(control: &Control) -> ApiResult<()> {
    if !control.deps.authenticator.is_off() {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "authentication-off",
        "Authentication is off",
        "Everything is one namespace then. Turn authentication on (auth.mode) to have tenants.",
    )
    .into())
}

/// Whoever makes something with rights, or learns its secret, has them itself.
pub(crate) fn gives(scope: &TenantScope, grants: Grants, what: &str) -> ApiResult<()> {
    if scope.grants().include(grants) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("{what} gives no more than its maker may.")).into())
}

impl FromRequestParts<App> for Acting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let acting = Acting::find(parts, app).await?;
        trail::acts_for(parts, acting.scope.tenant());
        Ok(acting)
    }
}

impl Acting {
    async fn find(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Some(name) = named(parts, app).await else {
            return match caller {
                Caller::Tenant(caller) => Ok(Acting::as_itself(caller)),
                Caller::LocalOperator(_) => Err(Problem::bad_request(
                    "The operator acts for a tenant that the path names: /tenants/{tenant}/….",
                )
                .into()),
            };
        };
        let control = app.control()?;
        match Named::find(&control, caller, &name).await? {
            Named::ByOperator(operator, tenant) => Ok(Acting {
                scope: operator.scope(tenant.id),
                slug: tenant.body.slug,
            }),
            Named::Itself(caller) => Ok(Acting::as_itself(caller)),
            Named::Below(caller, tenant) => {
                let entered = caller.enter(tenant.id, &tenant.body, tenant.control_version);
                Acting::entered(&control, parts, entered)
            }
            Named::Shared(caller, tenant, version) => {
                let entered = caller.enter(tenant.id, &tenant.body, version);
                Acting::entered(&control, parts, entered)
            }
        }
    }

    fn entered(
        control: &Control,
        parts: &Parts,
        entered: Option<Authenticated>,
    ) -> ApiResult<Self> {
        match entered {
            Some(entered) if entered.tenant.body.is_active() => {
                let address = parts.extensions.get::<Peer>().and_then(|p| p.address);
                laneway_hosts::lets_in(&control.deps.directory, &entered, address)?;
                Ok(Acting::as_itself(entered))
            }
            Some(_) => Err(Problem::tenant_inactive().into()),
            None => Err(Problem::tenant_mismatch().into()),
        }
    }

    fn as_itself(caller: Authenticated) -> Self {
        Acting {
            slug: caller.tenant.slug.clone(),
            scope: caller.scope.clone(),
        }
    }
}

/// A tenant that is managed itself, and by whom.
pub(crate) struct Managing {
    pub(crate) tenant: Tenant,
    pub(crate) by: Manager,
}

pub(crate) enum Manager {
    Operator(OperatorScope),
    /// The tenant itself.
    Itself(TenantScope),
    /// The tenant above it.
    Above(TenantScope),
}

impl Managing {
    /// Whether it may be done: the operator may all, the tenant itself what its key may, and the
    /// one above it what it may do to tenants below.
    pub(crate) fn may(&self, itself: Grant, above: Grant) -> ApiResult<()> {
        match &self.by {
            Manager::Operator(_) => Ok(()),
            Manager::Itself(scope) => may(scope, itself),
            Manager::Above(scope) => may(scope, above),
        }
    }

    pub(crate) fn is_operator(&self) -> bool {
        matches!(self.by, Manager::Operator(_))
    }
}

impl FromRequestParts<App> for Managing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let managing = Managing::find(parts, app).await?;
        trail::acts_for(parts, managing.tenant.id);
        Ok(managing)
    }
}

impl Managing {
    async fn find(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let name = named(parts, app).await.ok_or_else(ApiError::not_found)?;
        let control = app.control()?;
        let (tenant, by) = match Named::find(&control, caller, &name).await? {
            Named::ByOperator(operator, tenant) => (tenant, Manager::Operator(operator)),
            Named::Itself(caller) => {
                let head = control.deps.store.family(&caller.scope).head().await?;
                let tenant = head.ok_or_else(ApiError::not_found)?;
                (tenant, Manager::Itself(caller.scope.clone()))
            }
            Named::Below(caller, tenant) => (tenant, Manager::Above(caller.scope.clone())),
            Named::Shared(..) => return Err(Problem::tenant_mismatch().into()),
        };
        Ok(Managing { tenant, by })
    }
}

/// The tenant that a path names, as the caller stands to it.
enum Named {
    ByOperator(OperatorScope, Tenant),
    Itself(Authenticated),
    Below(Authenticated, Tenant),
    /// The namespace that all share, at its control version.
    Shared(Authenticated, Arc<TenantEntry>, i64),
}

impl Named {
    async fn find(control: &Control, caller: Caller, name: &str) -> ApiResult<Self> {
        // Where authentication is off there is one namespace for everybody, and no other.
        if let Caller::Tenant(anyone) = &caller
            && anyone.is_anyone()
            && !is_called(anyone, name)
        {
            return Err(Problem::tenant_mismatch().into());
        }
        if let Some(operator) = caller.operator() {
            let tenant = find_tenant(control, &operator, name).await?;
            return Ok(Named::ByOperator(operator, tenant));
        }
        let Caller::Tenant(caller) = caller else {
            return Err(Problem::tenant_mismatch().into());
        };
        // Asked for every name: how long it takes tells nothing of tenants elsewhere.
        let below = control.deps.store.family(&caller.scope).find(name).await?;
        if is_called(&caller, name) {
            return Ok(Named::Itself(caller));
        }
        let shared = shared(&control.deps.directory, name);
        match (below, shared) {
            (Some(tenant), _) => Ok(Named::Below(caller, tenant)),
            (None, Some((tenant, version))) => Ok(Named::Shared(caller, tenant, version)),
            (None, None) => Err(Problem::tenant_mismatch().into()),
        }
    }
}

/// Whether a name is the caller's own tenant's.
fn is_called(caller: &Authenticated, name: &str) -> bool {
    caller.tenant.slug == name || caller.tenant.id.to_string() == name
}

/// The namespace that all share, where it is named by its slug or id.
fn shared(directory: &Directory, name: &str) -> Option<(Arc<TenantEntry>, i64)> {
    let id = match directory.hosts().of_slug(name) {
        Claim::Tenant(id) => id,
        _ => name.parse().ok()?,
    };
    let named = directory.tenant_now(id)?;
    (named.0.body.kind == TenantKind::Default).then_some(named)
}

async fn named(parts: &mut Parts, app: &App) -> Option<String> {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
    let named = path
        .ok()
        .and_then(|Path(mut parts)| parts.remove("tenant"))?;
    trail::names(parts, &named);
    Some(named)
}

/// By id or slug; also by one that the tenant had until lately.
pub(crate) async fn find_tenant(
    control: &Control,
    operator: &OperatorScope,
    name: &str,
) -> ApiResult<Tenant> {
    let tenants = control.deps.store.tenants(operator);
    let found = match name.parse() {
        Ok(id) => tenants.find(id).await?,
        Err(_) => match tenants.by_slug(name).await? {
            Some(found) => Some(found),
            None => {
                let now = control.deps.clock.now_us();
                tenants.by_former_slug(name, now).await?
            }
        },
    };
    found.ok_or_else(ApiError::not_found)
}
