//! Who was authenticated, and where else it may work than at home.

use std::ops::Deref;
use std::sync::Arc;

use crate::control::{GrantBody, TenantBody, TenantKind};
use crate::role::SHARED;
use crate::source::TenantInfo;
use crate::{Claim, Grant, GrantId, Grants, Principal, TenantId, TenantScope};

/// Who was authenticated. One atomic count to clone: every request does.
#[derive(Debug, Clone)]
pub struct Authenticated(Arc<Caller>);

/// What is known of who was authenticated.
#[derive(Debug)]
pub struct Caller {
    pub scope: TenantScope,
    /// The tenant that it acts for.
    pub tenant: Arc<TenantInfo>,
    /// That tenant's control version that this was read at.
    pub control_version: i64,
    /// When the credential ends by itself, in microseconds; `i64::MAX` for one without an end. Of
    /// a grant too.
    pub ends_at: i64,
    /// Where the credentials belong, when that is another tenant.
    pub away_from: Option<Home>,
}

/// The tenant that credentials belong to, at the control version that they were read at.
#[derive(Debug, Clone)]
pub struct Home {
    pub tenant: Arc<TenantInfo>,
    pub control_version: i64,
}

/// The request names another tenant than its credentials do, or one that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request names a tenant that its credentials do not belong to")]
pub struct TenantMismatch;

impl Deref for Authenticated {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl From<Caller> for Authenticated {
    fn from(caller: Caller) -> Self {
        Authenticated(Arc::new(caller))
    }
}

impl Authenticated {
    /// At home.
    pub(crate) fn new(
        tenant: Arc<TenantInfo>,
        principal: Principal,
        control_version: i64,
        ends_at: i64,
    ) -> Self {
        Authenticated::from(Caller {
            scope: TenantScope::new(tenant.id, principal),
            tenant,
            control_version,
            ends_at,
            away_from: None,
        })
    }

    /// Where the credentials belong.
    pub fn home(&self) -> Home {
        self.away_from.clone().unwrap_or_else(|| Home {
            tenant: Arc::clone(&self.tenant),
            control_version: self.control_version,
        })
    }

    /// Whether authentication is off.
    pub fn is_anyone(&self) -> bool {
        *self.scope.principal() == Principal::Anyone
    }

    /// Refuses a request whose host or path names another tenant, whether or not there is one.
    pub fn agree(&self, claim: Claim) -> Result<(), TenantMismatch> {
        if claim.allows(self.scope.tenant()) {
            Ok(())
        } else {
            Err(TenantMismatch)
        }
    }

    /// The caller at work in a namespace of its tenant, with all the rights of its key; in a
    /// tenant below its own, where that allows it, to read what came of locations; in the
    /// namespace that all share, to read and write there; or in that of the platform's notices, to
    /// read them. `None` for any other, and for devices, which work nowhere but at home. The
    /// version is that of the tenant that is entered.
    pub fn enter(&self, id: TenantId, other: &TenantBody, version: i64) -> Option<Authenticated> {
        let Principal::Key { id: key, grants } = self.scope.principal() else {
            return None;
        };
        if self.away_from.is_some() {
            return None;
        }
        let is_below = other.parent == Some(self.tenant.id);
        let is_customer = self.tenant.body.kind == TenantKind::Tenant;
        let is_platform = self.tenant.body.kind == TenantKind::Platform;
        let grants = match other.kind {
            TenantKind::Namespace if is_below => *grants,
            TenantKind::Tenant if is_below && other.options.parent_may_read => {
                grants.common(Grants::of_all(&[Grant::StreamRead, Grant::PositionsRead]))
            }
            TenantKind::Default if is_customer => grants.common(SHARED),
            TenantKind::Runtime if is_customer => {
                grants.common(Grants::of_all(&[Grant::StreamRead]))
            }
            TenantKind::Runtime if is_platform && grants.has(Grant::Operator) => {
                Grants::of_all(&[Grant::StreamRead])
            }
            _ => return None,
        };
        let principal = Principal::Key { id: *key, grants };
        Some(self.away((id, other), principal, version, self.ends_at))
    }

    /// The caller at reading what a grant gives it. `None` where the grant is another's, or the
    /// caller's key may open no stream. Whether the grant holds at this time is the caller's to
    /// look at.
    pub fn by_grant(
        &self,
        id: GrantId,
        grant: &GrantBody,
        granting: (TenantId, &TenantBody),
        version: i64,
    ) -> Option<Authenticated> {
        let own = self.tenant.body.kind == TenantKind::Partner && grant.partner == self.tenant.id;
        if !own || self.away_from.is_some() || !self.scope.may(Grant::StreamRead) {
            return None;
        }
        let Principal::Key { id: key, .. } = self.scope.principal() else {
            return None;
        };
        let principal = Principal::Partner {
            tenant: self.tenant.id,
            key: *key,
            grant: id,
        };
        let ends_at = self.ends_at.min(grant.expires_at);
        Some(self.away(granting, principal, version, ends_at))
    }

    fn away(
        &self,
        (id, body): (TenantId, &TenantBody),
        principal: Principal,
        control_version: i64,
        ends_at: i64,
    ) -> Authenticated {
        Authenticated::from(Caller {
            scope: TenantScope::new(id, principal),
            tenant: Arc::new(TenantInfo {
                id,
                slug: body.slug.clone(),
                body: body.clone(),
            }),
            control_version,
            ends_at,
            away_from: Some(self.home()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyId, Placement};

    fn body(kind: TenantKind, parent: Option<u128>) -> TenantBody {
        TenantBody {
            kind,
            parent: parent.map(TenantId::from_u128),
            ..TenantBody::plain("x", Placement::first(TenantId::from_u128(1), 1, 4))
        }
    }

    fn caller(kind: TenantKind, principal: Principal) -> Authenticated {
        let info = TenantInfo {
            id: TenantId::from_u128(1),
            slug: "x".to_owned(),
            body: body(kind, None),
        };
        Authenticated::new(Arc::new(info), principal, 3, i64::MAX)
    }

    fn key(kind: TenantKind, grants: &[Grant]) -> Authenticated {
        let id = KeyId::from_u128(9);
        let grants = Grants::of_all(grants);
        caller(kind, Principal::Key { id, grants })
    }

    /// Another one.
    fn below() -> TenantId {
        TenantId::from_u128(0)
    }

    #[test]
    fn a_key_works_in_its_namespaces_and_reads_below_where_it_may_and_goes_no_further() {
        let caller = key(
            TenantKind::Tenant,
            &[Grant::StreamRead, Grant::DevicesWrite],
        );
        let namespace = body(TenantKind::Namespace, Some(1));
        let entered = caller.enter(below(), &namespace, 7).unwrap();
        assert!(entered.scope.may(Grant::DevicesWrite));
        assert_eq!(
            (entered.scope.tenant(), entered.control_version),
            (below(), 7)
        );
        assert_eq!(entered.home().tenant, caller.tenant);
        let mut child = body(TenantKind::Tenant, Some(1));
        assert!(caller.enter(below(), &child, 7).is_none());
        child.options.parent_may_read = true;
        let reading = caller.enter(below(), &child, 7).unwrap();
        assert!(reading.scope.may(Grant::StreamRead) && !reading.scope.may(Grant::DevicesWrite));
        let further = body(TenantKind::Namespace, Some(0));
        assert!(reading.enter(TenantId::from_u128(5), &further, 1).is_none());
        let strange = body(TenantKind::Namespace, Some(2));
        assert!(caller.enter(below(), &strange, 7).is_none());
    }

    #[test]
    fn tenants_read_and_write_in_the_namespace_that_all_share_and_manage_nothing_there() {
        let shared = body(TenantKind::Default, None);
        let all = |kind| key(kind, &Grant::ALL).enter(below(), &shared, 7);
        let entered = all(TenantKind::Tenant).unwrap();
        for grant in Grant::ALL {
            assert_eq!(entered.scope.may(grant), SHARED.has(grant), "{grant:?}");
        }
        let small = key(TenantKind::Tenant, &[Grant::UsageRead]);
        let entered = small.enter(below(), &shared, 7).unwrap();
        assert_eq!(entered.scope.grants(), Grants::of_all(&[]));
        assert!(all(TenantKind::Partner).is_none());
        assert!(all(TenantKind::Platform).is_none());
    }

    #[test]
    fn tenants_and_operators_read_the_platforms_notices_and_nobody_writes_there() {
        let runtime = body(TenantKind::Runtime, None);
        let enter = |kind, grants: &[Grant]| key(kind, grants).enter(below(), &runtime, 7);
        let reads = |entered: Option<Authenticated>| entered.map(|caller| caller.scope.grants());
        let stream = Grants::of_all(&[Grant::StreamRead]);
        assert_eq!(reads(enter(TenantKind::Tenant, &Grant::ALL)), Some(stream));
        let small = enter(TenantKind::Tenant, &[Grant::DevicesRead]);
        assert_eq!(reads(small), Some(Grants::NONE));
        let operator = enter(TenantKind::Platform, &[Grant::Operator]);
        assert_eq!(reads(operator), Some(stream));
        for kind in [
            TenantKind::Platform,
            TenantKind::Partner,
            TenantKind::Namespace,
        ] {
            assert!(enter(kind, &[Grant::StreamRead]).is_none(), "{kind:?}");
        }
    }

    #[test]
    fn a_device_works_nowhere_but_at_home() {
        let device = Principal::Device("truck".parse().unwrap());
        let caller = caller(TenantKind::Tenant, device);
        let namespace = body(TenantKind::Namespace, Some(1));
        assert!(caller.enter(below(), &namespace, 7).is_none());
    }

    #[test]
    fn a_grant_opens_to_its_partner_alone_and_gives_nothing_but_the_stream() {
        let grant = |partner| GrantBody {
            partner: TenantId::from_u128(partner),
            event_types: vec!["laneway.position".to_owned()],
            devices: vec![],
            expires_at: 1,
        };
        let granting = body(TenantKind::Tenant, None);
        let open = |caller: &Authenticated, partner| {
            let id = GrantId::from_u128(4);
            caller.by_grant(id, &grant(partner), (below(), &granting), 7)
        };
        let partner = key(TenantKind::Partner, &[Grant::StreamRead, Grant::KeysWrite]);
        let opened = open(&partner, 1).unwrap();
        assert_eq!(opened.scope.tenant(), below());
        assert_eq!(opened.scope.grants(), Grants::of_all(&[Grant::StreamRead]));
        assert_eq!(opened.home().tenant, partner.tenant);
        assert_eq!((opened.ends_at, partner.ends_at), (1, i64::MAX));
        assert!(open(&partner, 2).is_none(), "another partner's");
        assert!(open(&opened, 1).is_none());
        let tenant = key(TenantKind::Tenant, &[Grant::StreamRead]);
        assert!(open(&tenant, 1).is_none(), "no partner");
        let small = key(TenantKind::Partner, &[Grant::KeysWrite]);
        assert!(open(&small, 1).is_none(), "no stream:read");
    }
}
