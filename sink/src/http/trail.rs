//! What streams leave in audit trails: a partner's opening in that of the tenant whose stream it
//! is, and refusals that are about who may read what in that of whoever was refused.

use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::audit::{Denial, Facts, Personal, principal_name};
use laneway_tenancy::{Authenticated, Principal};

use crate::Sink;

const ACTION: &str = "GET /stream";

impl Sink {
    /// Durable before a partner reads anything.
    pub(super) async fn record(&self, who: &Authenticated, peer: &Peer) -> Result<(), Problem> {
        let Principal::Partner { grant, .. } = who.scope.principal() else {
            return Ok(());
        };
        let at = self.deps.clock.now_us();
        if !self.openings.take(*grant, at) {
            return Err(Problem::new(
                http::StatusCode::TOO_MANY_REQUESTS,
                "too-many-connections",
                "There are too many connections",
                "The grant is opened too often; keep a stream open.",
            )
            .retry_after(30));
        }
        let facts = Facts {
            target: format!("grant={grant}"),
            request_tenant: who.tenant.id.to_string(),
            ..facts(who, "begun", at)
        };
        let trail = self.deps.store.audit(&who.scope);
        let appended = trail.append(facts, &personal(peer)).await;
        appended.map(drop).map_err(|error| {
            tracing::warn!(%error, "a partner's stream is not opened: it cannot be recorded");
            Problem::unavailable("The opening cannot be recorded at the moment.")
        })
    }

    /// It waits for nothing.
    pub(super) fn denied(
        &self,
        who: &Authenticated,
        peer: &Peer,
        named: String,
        problem: &Problem,
    ) {
        let about_rights = [403, 404].contains(&problem.status.as_u16());
        if about_rights {
            let outcome = format!("{} {}", problem.status.as_u16(), problem.kind);
            let at = self.deps.clock.now_us();
            let denial = Denial::of(who, peer.address, (ACTION, outcome), named, at);
            self.denials.note(denial);
        }
    }
}

fn facts(who: &Authenticated, outcome: &str, at: i64) -> Facts {
    Facts {
        at,
        action: ACTION.to_owned(),
        outcome: outcome.to_owned(),
        principal: principal_name(who.scope.principal()),
        principal_tenant: who.home().tenant.id.to_string(),
        count: 1,
        first_at: at,
        last_at: at,
        ..Facts::default()
    }
}

fn personal(peer: &Peer) -> Personal {
    Personal {
        address: peer.address.map(|address| address.to_string()),
        ..Personal::default()
    }
}
