//! What requests leave in the audit trail.
//!
//! A change of the store is recorded by the store, in the change's own transaction, as coming from
//! the request that is at hand. What else is recorded comes from here: what was refused, what is
//! done outside of the store, and what is read of the trail itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use laneway_runtime::http::Peer;
use laneway_runtime::{Lifecycle, ProblemKind};
use laneway_store::audit::{
    Denial, Denials, Origin, Personal, Who, acting, current, principal_name,
};
use laneway_store::{Store, StoreError};
use laneway_tenancy::{OperatorScope, ProvisioningKeyId, TenantId, TenantScope, new_id};
use tokio::sync::OnceCell;
use tokio::time::MissedTickBehavior;

use crate::caller::App;
use crate::control::ControlDeps;
use crate::platform::PLATFORM_SLUG;

/// Reads that are recorded.
const RECORDED_READS: [&str; 2] = ["/audit/export", "/tenants/{tenant}/audit/export"];
/// Questions that are asked with POST.
const QUESTIONS: [&str; 3] = [
    "/registry/subjects/{subject}",
    "/registry/compatibility/subjects/{subject}/versions",
    "/registry/compatibility/subjects/{subject}/versions/{version}",
];
const REQUEST_ID: &str = "x-request-id";
/// Chains that are looked at together.
const HEADS: u32 = 1000;

/// The part of the audit trail that requests write.
pub(crate) struct Trail {
    denials: Denials,
    /// The platform's own tenant, once it is known.
    platform: OnceCell<TenantId>,
}

/// Around every route: limits the address, and records the request where it has to be.
pub(crate) async fn record(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Ok(control) = app.control() else {
        return next.run(request).await;
    };
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let address = request.extensions().get::<Peer>().and_then(|p| p.address);
    if let Err(problem) = control.rates.of_address(address, now) {
        return IntoResponse::into_response(problem);
    }
    let id = format!("{:032x}", new_id(&*deps.random, now));
    let asked = Asked::of(&request);
    let origin = Arc::new(origin(
        &request,
        &asked,
        &id,
        address.map(|a| a.to_string()),
    ));
    request.extensions_mut().insert(origin.clone());
    let mut response = acting(origin.clone(), next.run(request)).await;
    let status = response.status();
    let kind = response.extensions().get::<ProblemKind>().copied();
    control
        .trail
        .finished(deps, &origin, &asked, status, kind)
        .await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// What of a request decides whether it is recorded.
struct Asked {
    method: Method,
    route: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let mut route = route.map_or("(none)", MatchedPath::as_str).to_owned();
        // A device may be called `bulk`: many are registered on the route of one.
        if request.method() == Method::POST && route.ends_with("/devices/{device}") {
            route = route.replace("{device}", "bulk");
        }
        Asked {
            method: request.method().clone(),
            route,
        }
    }

    /// Whether it may change anything.
    fn changes(&self) -> bool {
        let reads = self.method.is_safe()
            || (self.method == Method::POST && QUESTIONS.contains(&self.route.as_str()));
        !reads
    }

    fn is_recorded_read(&self) -> bool {
        self.method == Method::GET && RECORDED_READS.contains(&self.route.as_str())
    }
}

fn origin(request: &Request, asked: &Asked, id: &str, address: Option<String>) -> Origin {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let personal = Personal {
        address,
        user_agent: agent,
        name: None,
    };
    let action = format!("{} {}", asked.method, asked.route);
    Origin::new(
        &action,
        &target(&asked.route, request.uri().path()),
        id,
        personal,
    )
}

/// The parameters of a route as they stand in the path: `device=truck credential=crd_…`.
fn target(route: &str, path: &str) -> String {
    let named = route.split('/').zip(path.split('/'));
    let parameters = named.filter_map(|(template, value)| {
        let name = template.strip_prefix('{')?.strip_suffix('}')?;
        Some(format!("{}={value}", name.trim_start_matches('*')))
    });
    parameters.collect::<Vec<_>>().join(" ")
}

/// Says who makes the request; `None` is the operator on this machine.
pub(crate) fn known(parts: &Parts, caller: Option<&TenantScope>) {
    if let Some(origin) = parts.extensions.get::<Arc<Origin>>() {
        origin.is_by(match caller {
            Some(scope) => Who {
                principal: principal_name(scope.principal()),
                tenant: Some(scope.tenant()),
            },
            None => Who {
                principal: "operator".to_owned(),
                tenant: None,
            },
        });
    }
}

/// Says that the request at hand is made with a provisioning key, once that is found to be right:
/// what it is refused for then is in the trail of the key's tenant.
pub(crate) fn is_by_provisioning_key(tenant: TenantId, key: ProvisioningKeyId) {
    if let Some(origin) = current() {
        origin.is_by(Who {
            principal: format!("provisioning-key:{key}"),
            tenant: Some(tenant),
        });
    }
}

/// Says which tenant the request names, whether there is one or not.
pub(crate) fn names(parts: &Parts, tenant: &str) {
    if let Some(origin) = parts.extensions.get::<Arc<Origin>>() {
        origin.names(tenant);
    }
}

/// Says in whose name the request acts.
pub(crate) fn acts_for(parts: &Parts, tenant: TenantId) {
    if let Some(origin) = parts.extensions.get::<Arc<Origin>>() {
        origin.is_for(tenant);
    }
}

impl Trail {
    pub(crate) fn new(store: Store) -> Self {
        Trail {
            denials: Denials::new(store),
            platform: OnceCell::new(),
        }
    }

    /// Records that the request at hand is about to do something outside of the store, which
    /// cannot be one transaction with its entry: the entry is durable before, and what came of it
    /// follows.
    pub(crate) async fn begun(&self, deps: &ControlDeps) -> Result<(), StoreError> {
        let Some(origin) = current() else {
            return Ok(());
        };
        let chain = self.chain(deps, &origin).await?;
        let facts = origin.facts("begun", deps.clock.now_us());
        let scope = deps.authority.scope(chain);
        let trail = deps.store.audit(&scope);
        trail.append(facts, origin.personal()).await.map(drop)
    }

    async fn finished(
        &self,
        deps: &ControlDeps,
        origin: &Origin,
        asked: &Asked,
        status: StatusCode,
        kind: Option<ProblemKind>,
    ) {
        if origin.who().is_none() {
            return;
        }
        let changes = asked.changes();
        let refused = status == StatusCode::FORBIDDEN
            || (changes && !status.is_success() && !status.is_redirection());
        let done =
            status.is_success() && ((changes && !origin.is_recorded()) || asked.is_recorded_read());
        if !refused && !done {
            return;
        }
        let outcome = match kind {
            Some(ProblemKind(kind)) => format!("{} {kind}", status.as_u16()),
            None => status.as_u16().to_string(),
        };
        let facts = origin.facts(&outcome, deps.clock.now_us());
        let chain = match self.chain(deps, origin).await {
            Ok(chain) => chain,
            Err(error) => {
                tracing::error!(%error, ?facts, "a request is missing in the audit trail: whose trail it belongs to is not known");
                return;
            }
        };
        let denial = Denial {
            chain,
            facts,
            personal: origin.personal().clone(),
        };
        if done {
            let scope = deps.authority.scope(chain);
            let trail = deps.store.audit(&scope);
            let appended = trail.append(denial.facts.clone(), &denial.personal).await;
            match appended {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "a request is written to the audit trail later");
                }
            }
        }
        // Durable before it is answered, unless it is a repeat, which is counted.
        if self.denials.note(denial)
            && let Err(error) = self.denials.flush(deps.clock.now_us(), false).await
        {
            tracing::warn!(%error, "refusals are written to the audit trail later");
        }
    }

    /// Whose chain: the tenant's that the request acts for, else that of who makes it, else the
    /// platform's.
    async fn chain(&self, deps: &ControlDeps, origin: &Origin) -> Result<TenantId, StoreError> {
        let own = || origin.who().and_then(|who| who.tenant);
        if let Some(tenant) = origin.tenant().or_else(own) {
            return Ok(tenant);
        }
        let find = || async {
            let operator = OperatorScope::of_role(&deps.authority);
            let found = deps.store.tenants(&operator).by_slug(PLATFORM_SLUG).await?;
            found
                .map(|tenant| tenant.id)
                .ok_or_else(|| StoreError::Missing {
                    what: format!("tenant {PLATFORM_SLUG}"),
                })
        };
        self.platform.get_or_try_init(find).await.copied()
    }

    /// Writes refusals as they come due, and logs the heads of the chains, until the drain.
    pub(crate) async fn run(
        &self,
        deps: &ControlDeps,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<()> {
        let clock = deps.clock.clone();
        let denials = self
            .denials
            .run(move || clock.now_us(), lifecycle.draining());
        tokio::join!(denials, anchor(deps, lifecycle));
        Ok(())
    }
}

/// Logs how long each chain is that grew, and its last hash: whoever keeps the log notices when
/// the end of a chain goes missing.
async fn anchor(deps: &ControlDeps, lifecycle: &Lifecycle) {
    let every = Duration::from_secs(deps.settings.audit_anchor_seconds.max(1));
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged: HashMap<TenantId, i64> = HashMap::new();
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = log_heads(deps, &mut logged).await {
            tracing::warn!(%error, "the heads of the audit trails are logged later");
        }
    }
}

async fn log_heads(
    deps: &ControlDeps,
    logged: &mut HashMap<TenantId, i64>,
) -> Result<(), StoreError> {
    let operator = OperatorScope::of_role(&deps.authority);
    let heads = deps.store.audit_heads(&operator);
    let mut after = None;
    loop {
        let page = heads.list(after, HEADS).await?;
        for head in &page {
            if logged.insert(head.tenant, head.entries) != Some(head.entries) {
                tracing::info!(
                    target: "audit",
                    tenant = %head.tenant,
                    entries = head.entries,
                    head = head.hash,
                    "an audit trail has grown"
                );
            }
        }
        match page.last() {
            Some(last) if page.len() == HEADS as usize => after = Some(last.tenant),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_the_parameters_of_the_route_stand_for() {
        let route = "/tenants/{tenant}/devices/{device}/credentials";
        assert_eq!(
            target(route, "/tenants/acme/devices/truck/credentials"),
            "tenant=acme device=truck"
        );
        assert_eq!(target("/devices", "/devices"), "");
    }

    #[test]
    fn only_questions_are_no_changes() {
        let asked = |method: Method, route: &str| Asked {
            method,
            route: route.to_owned(),
        };
        assert!(asked(Method::POST, "/devices").changes());
        assert!(asked(Method::DELETE, "/registry/subjects/{subject}").changes());
        assert!(!asked(Method::POST, "/registry/subjects/{subject}").changes());
        assert!(!asked(Method::GET, "/devices").changes());
    }
}
