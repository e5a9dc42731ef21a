//! Credentials held against what the request names: the one place for all roles.

use http::{Extensions, StatusCode};
use laneway_directory::Directory;
use laneway_runtime::Problem;
use laneway_tenancy::control::TenantState;
use laneway_tenancy::{AuthError, Authenticated, Claim};

use crate::{Moved, Named};

/// The caller, where nothing in the request names another tenant; or the caller at work in the
/// tenant below its own that the request names ([`Authenticated::enter`]); else the refusal.
///
/// With credentials, a tenant that is not theirs is refused alike whether or not there is one,
/// after the same work. A name that a tenant had until lately leads to the present one, for who
/// may go there; for all others nobody has it. Without any, one that there is not is not found. Credentials that are not
/// valid learn nothing of names.
pub fn admit(
    directory: &Directory,
    extensions: &Extensions,
    outcome: Result<Authenticated, AuthError>,
) -> Result<Authenticated, Problem> {
    let Some(named) = extensions.get::<Named>() else {
        return outcome.map_err(of_authentication);
    };
    match (outcome, named.claim) {
        (Ok(caller), claim) if caller.agree(claim).is_ok() => Ok(caller),
        (Ok(caller), claim) => match entered(directory, &caller, claim) {
            Some(entered) if entered.tenant.body.state == TenantState::Active => Ok(entered),
            Some(_) => Err(Problem::tenant_inactive()),
            None => {
                if let Some(moved) = named
                    .moved
                    .as_ref()
                    .filter(|m| leads(directory, &caller, m))
                {
                    return Err(Problem::renamed(moved.location.clone()));
                }
                denied(named, Some(&caller));
                Err(Problem::tenant_mismatch())
            }
        },
        (Err(AuthError::Missing), Claim::Unknown) => Err(Problem::tenant_not_found()),
        (Err(AuthError::Missing), Claim::Contradiction) => {
            denied(named, None);
            Err(Problem::tenant_mismatch())
        }
        (Err(error), _) => Err(of_authentication(error)),
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
        AuthError::Unavailable => Problem::unavailable(error.to_string()),
    }
}

/// For the audit trail.
fn denied(named: &Named, caller: Option<&Authenticated>) {
    metrics::counter!("laneway_tenant_mismatches_total").increment(1);
    tracing::warn!(
        target: "laneway::audit",
        tenant = caller.map(|c| tracing::field::display(c.tenant.id)),
        principal = caller.map(|c| tracing::field::debug(c.scope.principal())),
        named = &*named.name,
        "a request names a tenant that its credentials do not belong to"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use laneway_tenancy::control::{RoleAuthority, TenantBody};
    use laneway_tenancy::{Placement, TenantId, TenantInfo};

    use super::*;

    fn caller() -> Authenticated {
        let id = TenantId::from_u128(1);
        Authenticated {
            scope: RoleAuthority::for_role("test").scope(id),
            tenant: Arc::new(TenantInfo {
                id,
                slug: "acme".to_owned(),
                body: TenantBody::plain("acme", Placement::first(id, 1, 4)),
            }),
            control_version: 1,
            ends_at: i64::MAX,
            away_from: None,
        }
    }

    fn kind(claim: Claim, outcome: Result<Authenticated, AuthError>) -> &'static str {
        let mut extensions = Extensions::new();
        if claim != Claim::Nothing {
            let name = "x".into();
            let moved = None;
            extensions.insert(Named { claim, name, moved });
        }
        admit(&Directory::new(), &extensions, outcome).map_or_else(|problem| problem.kind, |_| "")
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
