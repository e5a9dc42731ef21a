//! Where a change comes from. A request carries its origin along with its task, so that a change
//! is recorded with who made it in the change's own transaction, whatever made it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use laneway_tenancy::{Principal, TenantId};

use super::entry::Facts;

/// Longest text of an entry that a client chooses, in bytes.
const MOST: usize = 256;

/// What is personal about a request; it is kept apart from the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Personal {
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// What the principal is called by people.
    pub name: Option<String>,
}

/// Who acts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub principal: String,
    /// The tenant that the principal belongs to; none for the operator on this machine.
    pub tenant: Option<TenantId>,
}

/// A request, as the trail knows it. Who makes it and for which tenant is filled in when it is
/// known.
#[derive(Debug, Default)]
pub struct Origin {
    action: String,
    target: String,
    request_id: String,
    personal: Personal,
    who: OnceLock<Who>,
    tenant: OnceLock<TenantId>,
    /// The tenant that the request names, however it is called there.
    named: OnceLock<String>,
    recorded: AtomicBool,
}

tokio::task_local! {
    static ORIGIN: Arc<Origin>;
}

/// Runs `work` as coming from `origin`: changes that it commits are recorded so.
pub async fn acting<T>(origin: Arc<Origin>, work: impl Future<Output = T>) -> T {
    ORIGIN.scope(origin, work).await
}

/// Where the work at hand comes from, if from a request.
pub fn current() -> Option<Arc<Origin>> {
    ORIGIN.try_with(Arc::clone).ok()
}

impl Origin {
    pub fn new(action: &str, target: &str, request_id: &str, personal: Personal) -> Self {
        Origin {
            action: bounded(action),
            target: bounded(target),
            request_id: bounded(request_id),
            personal: Personal {
                address: personal.address.as_deref().map(bounded),
                user_agent: personal.user_agent.as_deref().map(bounded),
                name: personal.name.as_deref().map(bounded),
            },
            ..Origin::default()
        }
    }

    /// Who makes the request. The first to say so is believed.
    pub fn is_by(&self, who: Who) {
        let _ = self.who.set(who);
    }

    /// The tenant in whose name it acts: its chain is the one that is written to.
    pub fn is_for(&self, tenant: TenantId) {
        let _ = self.tenant.set(tenant);
    }

    /// The tenant that it names, whether there is one or not.
    pub fn names(&self, tenant: &str) {
        let _ = self.named.set(bounded(tenant));
    }

    pub fn who(&self) -> Option<&Who> {
        self.who.get()
    }

    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant.get().copied()
    }

    pub fn personal(&self) -> &Personal {
        &self.personal
    }

    /// Whether an entry of this request is in a chain.
    pub fn is_recorded(&self) -> bool {
        self.recorded.load(Ordering::Acquire)
    }

    pub(crate) fn recorded(&self) {
        self.recorded.store(true, Ordering::Release);
    }

    /// What happened, once.
    pub fn facts(&self, outcome: &str, at: i64) -> Facts {
        let who = self.who.get();
        let tenant = |id: Option<TenantId>| id.map(|id| id.to_string()).unwrap_or_default();
        Facts {
            at,
            action: self.action.clone(),
            target: self.target.clone(),
            outcome: bounded(outcome),
            principal: who.map(|who| who.principal.clone()).unwrap_or_default(),
            principal_tenant: tenant(who.and_then(|who| who.tenant)),
            request_tenant: match self.tenant.get() {
                Some(id) => id.to_string(),
                None => self.named.get().cloned().unwrap_or_default(),
            },
            request_id: self.request_id.clone(),
            count: 1,
            first_at: at,
            last_at: at,
            detail: String::new(),
        }
    }
}

/// A principal as the trail names it.
pub fn principal_name(principal: &Principal) -> String {
    match principal {
        Principal::Device(device) => format!("device:{device}"),
        Principal::Key { id, .. } => format!("key:{id}"),
        Principal::Partner { key, .. } => format!("key:{key}"),
        Principal::Operator => "operator".to_owned(),
        Principal::Anyone => "anyone".to_owned(),
        Principal::Role(role) => format!("role:{role}"),
    }
}

/// At most [`MOST`] bytes, and nothing that a terminal or a database stumbles over.
pub(crate) fn bounded(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MOST));
    for c in text.chars() {
        if out.len() + c.len_utf8() > MOST {
            break;
        }
        out.push(if c.is_control() { '\u{fffd}' } else { c });
        if out.len() > MOST {
            out.pop();
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_chooses_is_bounded_and_has_no_control_characters() {
        assert_eq!(bounded("a\0b\n"), "a\u{fffd}b\u{fffd}");
        assert!(bounded(&"\u{7}".repeat(1000)).len() <= MOST);
        assert!(bounded(&"ü".repeat(1000)).len() <= MOST);
    }

    #[tokio::test]
    async fn an_origin_is_seen_by_what_acts_under_it_and_by_nothing_else() {
        let origin = Arc::new(Origin::new("POST /x", "", "r", Personal::default()));
        assert!(current().is_none());
        let seen = acting(origin.clone(), async { current().is_some() }).await;
        assert!(seen && current().is_none());
        let facts = origin.facts("403 tenant-mismatch", 7);
        assert_eq!((facts.count, facts.first_at, facts.last_at), (1, 7, 7));
    }
}
