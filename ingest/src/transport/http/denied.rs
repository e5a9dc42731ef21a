//! Refusals that are about who may do what go to the audit trail of the tenant that was refused.

use laneway_hosts::Denied;
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::audit::Denial;
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
    note(ingest, who, peer, endpoint, (&problem, named));
    problem
}

/// Valid credentials that were not let in: from elsewhere, or at another tenant's host or path.
pub fn at_the_door(
    ingest: &Ingest,
    denied: &Denied,
    peer: &Peer,
    endpoint: Endpoint,
    named: Option<&str>,
) {
    if let Some(who) = &denied.caller {
        let named = named.map_or_else(|| who.tenant.id.to_string(), str::to_owned);
        note(ingest, who, peer, endpoint, (&denied.problem, named));
    }
}

fn note(
    ingest: &Ingest,
    who: &Authenticated,
    peer: &Peer,
    endpoint: Endpoint,
    (problem, named): (&Problem, String),
) {
    let outcome = format!("{} {}", problem.status.as_u16(), problem.kind);
    let what = (action(endpoint), outcome);
    let at = ingest.accept.clock.now_us();
    ingest
        .denials
        .note(Denial::of(who, peer.address, what, named, at));
}

fn action(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Update => "POST /location/update",
        Endpoint::SessionStart => "POST /location/session/start",
        Endpoint::SessionStop => "POST /location/session/{session}/stop",
        Endpoint::SessionRead => "GET /location/session/{session}",
    }
}
