//! Refusals that are about who may do what go to the audit trail of the tenant that was refused.

use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::audit::{Denial, Facts, Personal, principal_name};
use laneway_tenancy::Authenticated;

use super::problem;
use crate::Ingest;
use crate::accept::{Endpoint, Refused};

/// The answer to what was refused; it waits for nothing.
pub fn problem(
    ingest: &Ingest,
    who: &Authenticated,
    peer: &Peer,
    endpoint: Endpoint,
    refused: Refused,
) -> Problem {
    let named = match &refused {
        Refused::TenantMismatch { named } => named.clone(),
        Refused::MayNotWrite | Refused::MayNotRead => who.tenant.id.to_string(),
        _ => return problem::of_refused(refused),
    };
    let problem = problem::of_refused(refused);
    let at = ingest.accept.clock.now_us();
    ingest.denials.note(Denial {
        chain: who.tenant.id,
        facts: Facts {
            at,
            action: action(endpoint).to_owned(),
            outcome: format!("{} {}", problem.status.as_u16(), problem.kind),
            principal: principal_name(who.scope.principal()),
            principal_tenant: who.tenant.id.to_string(),
            request_tenant: named,
            count: 1,
            first_at: at,
            last_at: at,
            ..Facts::default()
        },
        personal: Personal {
            address: peer.address.map(|address| address.to_string()),
            ..Personal::default()
        },
    });
    problem
}

/// The request itself names another tenant, by its host or path.
pub fn mismatch(
    ingest: &Ingest,
    who: &Authenticated,
    peer: &Peer,
    endpoint: Endpoint,
    named: &str,
) {
    let named = named.to_owned();
    problem(
        ingest,
        who,
        peer,
        endpoint,
        Refused::TenantMismatch { named },
    );
}

fn action(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Update => "POST /location/update",
        Endpoint::SessionStart => "POST /location/session/start",
        Endpoint::SessionStop => "POST /location/session/{session}/stop",
        Endpoint::SessionRead => "GET /location/session/{session}",
    }
}
