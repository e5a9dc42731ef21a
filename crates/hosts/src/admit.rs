//! Credentials held against where they come from and what the request names: the one place for
//! all roles.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Extensions, StatusCode};
use laneway_directory::{Chain, Directory};
use laneway_runtime::Problem;
use laneway_tenancy::{AuthError, Authenticated, Claim};

use crate::cors::{Asker, origin_not_allowed};
use crate::{Moved, Named};

/// A request that is not let in.
#[derive(Debug)]
pub struct Denied {
    pub problem: Problem,
    /// Whose valid credentials were not enough: for the audit trail of their tenant.
    pub caller: Option<Authenticated>,
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        denied.problem
    }
}

fn unknown(problem: Problem) -> Denied {
    Denied {
        problem,
        caller: None,
    }
}

/// The caller, where its tenant takes its credentials from `address` and nothing in the request
/// names another tenant; or the caller at work in the tenant below its own that the request names
/// ([`Authenticated::enter`]); else the refusal.
///
/// With credentials, a tenant that is not theirs is refused alike whether or not there is one,
/// after the same work. A name that a tenant had until lately leads to the present one, for who
/// may go there; for all others nobody has it. Without any, one that there is not is not found.
/// Credentials that are not valid learn nothing of names.
///
/// Where authentication is off, a request is [`Authenticated::is_anyone`]: it is answered by names
/// like one without credentials, and pages of other origins are refused that the namespace does
/// not name, since any page that somebody opens can ask a server on their machine.
pub fn admit(
    directory: &Directory,
    extensions: &Extensions,
    address: Option<IpAddr>,
    outcome: Result<Authenticated, AuthError>,
) -> Result<Authenticated, Denied> {
    let named = extensions.get::<Named>();
    let claim = named.map_or(Claim::Nothing, |named| named.claim);
    match (outcome, claim) {
        (Ok(caller), Claim::Unknown) if caller.is_anyone() => {
            Err(unknown(Problem::tenant_not_found()))
        }
        (Ok(caller), claim) => {
            if let Some(asker) = extensions.get::<Arc<Asker>>() {
                asker.is(caller.tenant.id);
                if caller.is_anyone() && !asker.is_own() && !reads(directory, &caller, asker) {
                    return Err(Denied {
                        problem: origin_not_allowed(),
                        caller: Some(caller),
                    });
                }
            }
            let problem = match led(directory, (named, claim), address, &caller) {
                Ok(None) => return Ok(caller),
                Ok(Some(entered)) => return Ok(entered),
                Err(problem) => problem,
            };
            let refused = problem.status == StatusCode::FORBIDDEN;
            let caller = refused.then_some(caller);
            Err(Denied { problem, caller })
        }
        (Err(AuthError::Missing), Claim::Unknown) => Err(unknown(Problem::tenant_not_found())),
        (Err(AuthError::Missing), Claim::Contradiction) => {
            mismatch(named, None);
            Err(unknown(Problem::tenant_mismatch()))
        }
        (Err(error), _) => Err(unknown(of_authentication(error))),
    }
}

/// Where the caller is let in: at home (`None`), or in the tenant below that is named.
fn led(
    directory: &Directory,
    (named, claim): (Option<&Named>, Claim),
    address: Option<IpAddr>,
    caller: &Authenticated,
) -> Result<Option<Authenticated>, Problem> {
    lets_in(directory, caller, address)?;
    if caller.agree(claim).is_ok() {
        return Ok(None);
    }
    match entered(directory, caller, claim) {
        Some(entered) if entered.tenant.body.is_active() => {
            lets_in(directory, &entered, address)?;
            Ok(Some(entered))
        }
        Some(_) => Err(Problem::tenant_inactive()),
        None => {
            let moved = named.and_then(|named| named.moved.as_ref());
            if let Some(moved) = moved.filter(|moved| leads(directory, caller, moved)) {
                return Err(Problem::renamed(moved.location.clone()));
            }
            mismatch(named, Some(caller));
            Err(Problem::tenant_mismatch())
        }
    }
}

/// The caller in the tenant below its own that is named. One that there is not is looked for
/// like any other.
fn entered(directory: &Directory, caller: &Authenticated, claim: Claim) -> Option<Authenticated> {
    let id = match claim {
        Claim::Tenant(id) => id,
        Claim::Nothing | Claim::Unknown | Claim::Contradiction => caller.tenant.id,
    };
    let (below, version) = directory.tenant_now(id)?;
    caller.enter(id, &below.body, version)
}

/// Whether the caller may know where a former name leads: it may go there.
fn leads(directory: &Directory, caller: &Authenticated, moved: &Moved) -> bool {
    let claim = Claim::Tenant(moved.tenant);
    caller.agree(claim).is_ok() || entered(directory, caller, claim).is_some()
}

/// Refuses credentials from an address from which the tenant does not take them.
pub fn lets_in(
    directory: &Directory,
    caller: &Authenticated,
    address: Option<IpAddr>,
) -> Result<(), Problem> {
    let options = &caller.tenant.body.options;
    // What was read with the credentials is dropped when the directory hears of a change.
    if options.ip_allow.is_empty() {
        return Ok(());
    }
    if chain(directory, caller, |chain| chain.lets_in(address)) {
        return Ok(());
    }
    Err(from_elsewhere())
}

/// Whether the tenant lets pages of the asker's origin read its answers.
fn reads(directory: &Directory, caller: &Authenticated, asker: &Asker) -> bool {
    let origin = asker.origin();
    origin.is_some_and(|origin| chain(directory, caller, |chain| chain.answers(origin)))
}

/// What the tenant's options say of its callers, as the directory has it or else as it was read
/// with the credentials.
fn chain(directory: &Directory, caller: &Authenticated, says: impl Fn(&Chain) -> bool) -> bool {
    match directory.tenant(caller.tenant.id) {
        Some(tenant) => says(&tenant.chain),
        None => says(&Chain::of(&caller.tenant.body.options)),
    }
}

/// The refusal of what comes from an address from which the tenant takes nothing.
pub fn from_elsewhere() -> Problem {
    metrics::counter!("laneway_address_refusals_total").increment(1);
    Problem::new(
        StatusCode::FORBIDDEN,
        "address-not-allowed",
        "The tenant does not take its credentials from this address",
        "Call from one of the networks in the tenant's option ip_allow.",
    )
}

/// The refusal of credentials.
pub fn of_authentication(error: AuthError) -> Problem {
    match error {
        AuthError::Missing | AuthError::Invalid => Problem::unauthorized(),
        AuthError::Suspended => Problem::tenant_inactive(),
        AuthError::Disabled => Problem::new(
            StatusCode::FORBIDDEN,
            "device-disabled",
            "The device is disabled",
            "Whoever manages the tenant's devices can enable it.",
        ),
        AuthError::TooManyFailures { retry_after_s } => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-failures",
            "Authentication failed too often",
            error.to_string(),
        )
        .retry_after(retry_after_s),
        AuthError::Unavailable | AuthError::NoNamespace => Problem::unavailable(error.to_string()),
    }
}

fn mismatch(named: Option<&Named>, caller: Option<&Authenticated>) {
    metrics::counter!("laneway_tenant_mismatches_total").increment(1);
    tracing::warn!(
        target: "laneway::audit",
        tenant = caller.map(|c| tracing::field::display(c.tenant.id)),
        principal = caller.map(|c| tracing::field::debug(c.scope.principal())),
        named = named.map(|named| &*named.name),
        "a request names a tenant that its credentials do not belong to"
    );
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use http::Request;
    use laneway_tenancy::control::{RoleAuthority, TenantBody, TenantKind};
    use laneway_tenancy::{
        AuthSettings, Authenticator, Caller, CredentialSource, Placement, SourceError,
        StoredNamespace, TenantId, TenantInfo,
    };

    use super::*;
    use crate::cors::CrossOrigin;

    fn caller() -> Authenticated {
        let id = TenantId::from_u128(1);
        of(TenantInfo {
            id,
            slug: "acme".to_owned(),
            body: TenantBody::plain("acme", Placement::first(id, 1, 4)),
        })
    }

    fn of(tenant: TenantInfo) -> Authenticated {
        Authenticated::from(Caller {
            scope: RoleAuthority::for_role("test").scope(tenant.id),
            tenant: Arc::new(tenant),
            control_version: 1,
            ends_at: i64::MAX,
            away_from: None,
        })
    }

    fn kind(claim: Claim, outcome: Result<Authenticated, AuthError>) -> &'static str {
        let mut extensions = Extensions::new();
        if claim != Claim::Nothing {
            let name = "x".into();
            let moved = None;
            extensions.insert(Named { claim, name, moved });
        }
        let directory = Directory::new();
        admit(&directory, &extensions, None, outcome).map_or_else(|d| d.problem.kind, |_| "")
    }

    /// The only namespace that there is where authentication is off.
    struct One(TenantInfo);

    impl CredentialSource for One {
        fn shared_namespace<'a>(
            &'a self,
            _: &'a str,
        ) -> BoxFuture<'a, Result<Option<StoredNamespace>, SourceError>> {
            let tenant = self.0.clone();
            Box::pin(async {
                Ok(Some(StoredNamespace {
                    tenant,
                    control_version: 1,
                }))
            })
        }
    }

    /// Whoever asks there, where the namespace names these pages.
    async fn anyone(cors_origins: &[&str]) -> Authenticated {
        let mut tenant = TenantInfo::clone(&caller().tenant);
        tenant.body.kind = TenantKind::Default;
        tenant.body.options.cors_origins = cors_origins.iter().map(|o| (*o).to_owned()).collect();
        let settings = AuthSettings {
            anyone_in: Some(tenant.slug.clone()),
            ..AuthSettings::new([1; 32])
        };
        let authenticator = Authenticator::new(Arc::new(One(tenant)), settings, Arc::new(|| 1));
        authenticator.authenticate(None, None).await.unwrap()
    }

    /// What a request to localhost:8080 is refused as that a page of this origin sends.
    fn asked_by_a_page(anyone: Authenticated, origin: &str) -> &'static str {
        let request = Request::builder().header("host", "localhost:8080");
        let mut request = request.header("origin", origin).body(()).unwrap();
        assert!(CrossOrigin::of(&mut request).is_some());
        let admitted = admit(&Directory::new(), request.extensions(), None, Ok(anyone));
        admitted.map_or_else(|denied| denied.problem.kind, |_| "")
    }

    #[tokio::test]
    async fn without_authentication_a_page_asks_from_the_server_or_an_origin_that_is_named() {
        let named = anyone(&["https://console.example"]).await;
        for own in ["http://localhost:8080", "https://LOCALHOST:8080"] {
            assert_eq!(asked_by_a_page(named.clone(), own), "", "{own}");
        }
        let console = "https://console.example";
        assert_eq!(asked_by_a_page(named.clone(), console), "");
        for other in [
            "http://localhost:3000",
            "http://localhost",
            "http://127.0.0.1:8080",
            "https://evil.example",
            "null",
            "localhost:8080",
            "",
        ] {
            let refused = asked_by_a_page(named.clone(), other);
            assert_eq!(refused, "origin-not-allowed", "{other}");
        }
        let refused = asked_by_a_page(anyone(&[]).await, console);
        assert_eq!(refused, "origin-not-allowed");
        assert_eq!(asked_by_a_page(anyone(&["*"]).await, console), "");
        // With credentials it is they that count.
        assert_eq!(asked_by_a_page(caller(), "https://evil.example"), "");
    }

    #[tokio::test]
    async fn without_authentication_names_are_answered_as_without_credentials() {
        let anyone = anyone(&[]).await;
        let other = Claim::Tenant(TenantId::from_u128(2));
        let own = Claim::Tenant(anyone.tenant.id);
        for (claim, answer) in [
            (Claim::Nothing, ""),
            (own, ""),
            (other, "tenant-mismatch"),
            (Claim::Unknown, "tenant-not-found"),
            (Claim::Contradiction, "tenant-mismatch"),
        ] {
            assert_eq!(kind(claim, Ok(anyone.clone())), answer, "{claim:?}");
        }
    }

    #[test]
    fn credentials_are_taken_from_the_tenants_networks_alone() {
        let mut tenant = TenantInfo::clone(&caller().tenant);
        tenant.body.options.ip_allow = vec!["10.0.0.0/8".to_owned()];
        let known = of(tenant);
        let directory = Directory::new();
        let from = |address: Option<&str>| {
            let address = address.map(|text| text.parse().unwrap());
            let admitted = admit(&directory, &Extensions::new(), address, Ok(known.clone()));
            admitted.map_or_else(|d| (d.problem.kind, d.caller.is_some()), |_| ("", false))
        };
        assert_eq!(from(Some("10.1.2.3")), ("", false));
        assert_eq!(from(None), ("", false));
        assert_eq!(from(Some("192.0.2.1")), ("address-not-allowed", true));
    }

    #[test]
    fn each_claim_with_each_credential_has_its_answer() {
        let (own, other) = (TenantId::from_u128(1), TenantId::from_u128(2));
        let (own, other) = (Claim::Tenant(own), Claim::Tenant(other));
        let rows = [
            (Claim::Nothing, ["", "unauthorized", "unauthorized"]),
            (own, ["", "unauthorized", "unauthorized"]),
            (other, ["tenant-mismatch", "unauthorized", "unauthorized"]),
            (
                Claim::Unknown,
                ["tenant-mismatch", "tenant-not-found", "unauthorized"],
            ),
            (
                Claim::Contradiction,
                ["tenant-mismatch", "tenant-mismatch", "unauthorized"],
            ),
        ];
        for (claim, [valid, none, wrong]) in rows {
            assert_eq!(kind(claim, Ok(caller())), valid, "{claim:?}");
            assert_eq!(kind(claim, Err(AuthError::Missing)), none, "{claim:?}");
            assert_eq!(kind(claim, Err(AuthError::Invalid)), wrong, "{claim:?}");
            let inactive = kind(claim, Err(AuthError::Suspended));
            assert_eq!(inactive, "tenant-inactive", "{claim:?}");
        }
    }
}
