//! Who opens a stream, and what of it: a tenant's own with its key, or a part of another tenant's
//! by a grant.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use laneway_directory::Directory;
use laneway_runtime::Problem;
use laneway_schemas::EventType;
use laneway_tenancy::control::{TenantKind, TenantState};
use laneway_tenancy::{Authenticated, Grant, GrantId};

use crate::event::Filter;

/// The right to a stream.
pub struct Opening {
    pub who: Authenticated,
    /// What of it may be read; `None` for all of it.
    pub within: Option<Filter>,
}

impl Opening {
    /// Of the caller's own stream, or of what a grant gives it.
    pub fn of(
        caller: Authenticated,
        grant: Option<GrantId>,
        directory: &Directory,
        now: i64,
    ) -> Result<Self, Problem> {
        if !caller.scope.may(Grant::StreamRead) {
            return Err(Problem::forbidden("The key needs the grant stream:read."));
        }
        match grant {
            Some(grant) => granted(&caller, grant, directory, now),
            None if caller.tenant.body.kind == TenantKind::Partner => Err(Problem::bad_request(
                "A partner has no stream of its own; name a grant in the URL: ?grant=grt_….",
            )),
            None => Ok(Opening {
                who: caller,
                within: None,
            }),
        }
    }
}

/// A grant to somebody else is not found, like one that there is not.
fn granted(
    caller: &Authenticated,
    id: GrantId,
    directory: &Directory,
    now: i64,
) -> Result<Opening, Problem> {
    let not_found = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "grant-not-found",
            "There is no such grant",
            "It is revoked, or it is not this partner's; GET /partner/grants lists those that are.",
        )
    };
    let grant = directory.grant(id).ok_or_else(not_found)?;
    let (tenant, version) = directory.tenant_now(grant.tenant).ok_or_else(not_found)?;
    let who = caller
        .by_grant(id, &grant.body, (grant.tenant, &tenant.body), version)
        .ok_or_else(not_found)?;
    // Types of a later version are not served here.
    let types = grant.body.event_types.iter();
    let types: Vec<EventType> = types.filter_map(|name| EventType::parse(name)).collect();
    let holds = now < grant.body.expires_at && tenant.body.state == TenantState::Active;
    if !holds || types.is_empty() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "grant-inactive",
            "The grant gives nothing at the moment",
            "It has expired, or its tenant is not active; ask the tenant.",
        ));
    }
    Ok(Opening {
        who,
        within: Some(Filter::new(types, grant.body.devices.iter().cloned())),
    })
}

/// How often a grant may be opened in a minute on one node: each time is an entry in the audit
/// trail of its tenant.
const OPENINGS: u32 = 60;
const MINUTE_US: i64 = 60_000_000;
/// Grants whose openings are counted at a time.
const COUNTED: usize = 65_536;

/// The openings of this minute.
#[derive(Default)]
pub struct Openings(Mutex<(i64, HashMap<GrantId, u32>)>);

impl Openings {
    /// Counts one; `false` where there were too many.
    pub fn take(&self, grant: GrantId, now: i64) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now / MINUTE_US;
        if counted.0 != minute || counted.1.len() >= COUNTED {
            *counted = (minute, HashMap::new());
        }
        let count = counted.1.entry(grant).or_default();
        *count += 1;
        *count <= OPENINGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_opened_so_often_in_a_minute_and_no_more() {
        let openings = Openings::default();
        let (one, other) = (GrantId::from_u128(1), GrantId::from_u128(2));
        assert!((0..OPENINGS).all(|_| openings.take(one, 5)));
        assert!(!openings.take(one, 6));
        assert!(openings.take(other, 6));
        assert!(openings.take(one, 5 + MINUTE_US));
    }
}
