//! Valid credentials that were not let in go to the audit trail of their tenant.

use http::{Extensions, Request};
use hyper::body::Incoming;
use laneway_hosts::{Denied, Named};
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_store::audit::Denial;

use crate::Sink;

impl Sink {
    /// The answer; it waits for nothing.
    pub(super) fn denied(
        &self,
        denied: Denied,
        request: &Request<Incoming>,
        peer: &Peer,
    ) -> Problem {
        let Denied { problem, caller } = denied;
        if let Some(who) = caller {
            let named = named(request.extensions());
            let named = named.unwrap_or_else(|| who.tenant.id.to_string());
            let outcome = format!("{} {}", problem.status.as_u16(), problem.kind);
            let at = self.deps.clock.now_us();
            let what = ("GET /stream", outcome);
            self.denials
                .note(Denial::of(&who, peer.address, what, named, at));
        }
        problem
    }
}

fn named(extensions: &Extensions) -> Option<String> {
    let named = extensions.get::<Named>();
    named.map(|named| named.name.to_string())
}
