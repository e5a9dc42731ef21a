//! Without authentication.

use super::super::*;
use super::rig::{Rig, device};
use crate::control::{TenantKind, TenantState};
use crate::{Grant, Grants};

#[tokio::test]
async fn without_authentication_everybody_does_everything_in_the_one_namespace() {
    let rig = Rig::open();
    let id = rig.namespace(TenantKind::Default);
    let asked = rig.authenticator.authenticate(None, None).await.unwrap();
    assert!(asked.is_anyone() && crate::OperatorScope::of(&asked).is_some());
    assert_eq!((asked.scope.tenant(), asked.control_version), (id, 5));
    assert_eq!(asked.scope.grants(), Grants::of_all(&Grant::ALL));
    // What is sent is not looked at: not even somebody's valid token.
    let token = rig.token("acme", TenantState::Active, device("truck"));
    let long = vec![b'x'; 100_000];
    for header in [&token[..], b"Bearer nonsense", b"", &long] {
        assert_eq!(rig.try_as(header).await.unwrap().scope.tenant(), id);
        assert!(rig.authenticator.cached(Some(header)).is_some());
    }
    assert_eq!(rig.fake.lookups.load(Ordering::SeqCst), 1, "it is cached");
    assert_eq!(rig.authenticator.drain_uses(), []);
}

#[tokio::test]
async fn the_one_namespace_is_read_anew_when_it_changes_and_kept_while_the_store_is_away() {
    let rig = Rig::open();
    let id = rig.namespace(TenantKind::Default);
    let ask = || rig.authenticator.authenticate(None, None);
    ask().await.unwrap();
    rig.authenticator.forget(id, ChangeKind::Tenant, "");
    ask().await.unwrap();
    assert_eq!(rig.fake.lookups.load(Ordering::SeqCst), 2);
    rig.fake.away.store(true, Ordering::SeqCst);
    rig.pass(60);
    assert!(ask().await.is_ok());
    assert!(rig.authenticator.degraded().is_some());
    rig.pass(900);
    assert_eq!(ask().await.unwrap_err(), AuthError::Unavailable);
}

#[tokio::test]
async fn without_authentication_a_namespace_that_is_not_there_yet_is_waited_for() {
    let rig = Rig::open();
    let ask = || {
        rig.authenticator
            .authenticate(None, Some([192, 0, 2, 1].into()))
    };
    for _ in 0..20 {
        assert_eq!(ask().await.unwrap_err(), AuthError::NoNamespace);
    }
    // A customer is never opened, whatever it is called.
    rig.namespace(TenantKind::Tenant);
    assert_eq!(ask().await.unwrap_err(), AuthError::NoNamespace);
    rig.namespace(TenantKind::Default);
    assert!(ask().await.is_ok());
}
