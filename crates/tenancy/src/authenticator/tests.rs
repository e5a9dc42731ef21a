mod anyone;
mod rig;

use base64::Engine;

use super::*;
use crate::control::{TenantKind, TenantState};
use crate::{
    CredentialId, DeviceId, Grant, Grants, KeyId, Principal, SecretId, StoredCredential,
    StoredLogin, StoredPassword, StoredPrincipal, SystemRandom, Token, TokenKind, Validity,
};
use rig::{Rig, device, tenant};

#[tokio::test]
async fn a_verified_token_is_cached_and_verified_anew_when_due() {
    let rig = Rig::new();
    let header = rig.token("acme", TenantState::Active, device("truck"));
    assert!(rig.authenticator.cached(Some(&header)).is_none());
    let caller = rig.try_as(&header).await.unwrap();
    assert_eq!(
        caller.scope.principal(),
        &Principal::Device("truck".parse::<DeviceId>().unwrap())
    );
    assert_eq!(caller.control_version, 3);
    rig.pass(29);
    assert!(rig.authenticator.cached(Some(&header)).is_some());
    rig.pass(2);
    assert!(
        rig.authenticator.cached(Some(&header)).is_none(),
        "it is due"
    );
    assert_eq!(rig.fake.lookups.load(Ordering::SeqCst), 1);
    rig.try_as(&header).await.unwrap();
    rig.try_as(&header).await.unwrap();
    assert_eq!(
        rig.fake.lookups.load(Ordering::SeqCst),
        2,
        "verified anew once"
    );
    assert!(rig.authenticator.cached(Some(&header)).is_some());
}

#[tokio::test]
async fn a_revoked_credential_is_refused_as_soon_as_the_change_is_heard_of() {
    let rig = Rig::new();
    let header = rig.token("acme", TenantState::Active, device("truck"));
    let id = rig.try_as(&header).await.unwrap().tenant.id;
    rig.fake.tokens.lock().unwrap().clear();
    rig.authenticator.forget(
        id,
        ChangeKind::Credential,
        &CredentialId::from_u128(8).to_string(),
    );
    assert!(
        rig.authenticator.cached(Some(&header)).is_some(),
        "another credential's change"
    );
    rig.authenticator.forget(
        id,
        ChangeKind::Credential,
        &CredentialId::from_u128(9).to_string(),
    );
    assert!(rig.authenticator.cached(Some(&header)).is_none());
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Invalid);
}

#[tokio::test]
async fn while_the_store_is_away_known_credentials_hold_and_unknown_ones_are_not_judged() {
    let rig = Rig::new();
    let known = rig.token("acme", TenantState::Active, device("truck"));
    let unknown = rig.token("acme", TenantState::Active, device("van"));
    rig.try_as(&known).await.unwrap();
    rig.fake.away.store(true, Ordering::SeqCst);
    rig.pass(60);
    assert!(rig.try_as(&known).await.is_ok());
    assert!(
        rig.authenticator.cached(Some(&known)).is_some(),
        "not every request waits for a store that is away"
    );
    assert_eq!(
        rig.try_as(&unknown).await.unwrap_err(),
        AuthError::Unavailable
    );
    assert!(rig.authenticator.degraded().is_some());
    rig.pass(900);
    assert_eq!(
        rig.try_as(&known).await.unwrap_err(),
        AuthError::Unavailable
    );
    rig.fake.away.store(false, Ordering::SeqCst);
    assert!(rig.try_as(&known).await.is_ok());
    assert_eq!(rig.authenticator.degraded(), None);
}

#[tokio::test]
async fn a_revocation_heard_while_the_store_is_away_holds() {
    let rig = Rig::new();
    let known = rig.token("acme", TenantState::Active, device("truck"));
    let id = rig.try_as(&known).await.unwrap().tenant.id;
    rig.fake.away.store(true, Ordering::SeqCst);
    rig.authenticator.forget(id, ChangeKind::Device, "truck");
    assert_eq!(
        rig.try_as(&known).await.unwrap_err(),
        AuthError::Unavailable
    );
}

#[tokio::test]
async fn credentials_of_a_tenant_have_what_is_known_of_it_in_common_until_it_changes() {
    let rig = Rig::new();
    let truck = rig.token("acme", TenantState::Active, device("truck"));
    let van = rig.token("acme", TenantState::Active, device("van"));
    let tenant = rig.try_as(&truck).await.unwrap().tenant.clone();
    let read_again = rig.try_as(&van).await.unwrap();
    assert!(Arc::ptr_eq(&read_again.tenant, &tenant));
    for stored in rig.fake.tokens.lock().unwrap().values_mut() {
        stored.tenant.body.limits.sockets += 1;
    }
    rig.pass(31);
    let changed = rig.try_as(&van).await.unwrap();
    assert_eq!(
        changed.tenant.body.limits.sockets,
        tenant.body.limits.sockets + 1
    );
    let (id, known) = (changed.tenant.id, Arc::downgrade(&changed.tenant));
    drop(changed);
    rig.authenticator.forget(id, ChangeKind::Tenant, "");
    assert!(known.upgrade().is_none(), "nothing of it is kept");
}

#[tokio::test]
async fn a_suspended_tenant_is_told_so_and_only_with_valid_credentials() {
    let rig = Rig::new();
    let header = rig.token("acme", TenantState::Suspended, device("truck"));
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Suspended);
    assert_eq!(
        rig.authenticator
            .authenticate(None, None)
            .await
            .unwrap_err(),
        AuthError::Missing
    );
}

#[tokio::test]
async fn a_tenant_of_a_kind_that_is_not_known_is_not_active() {
    let rig = Rig::new();
    let header = rig.token("acme", TenantState::Active, device("truck"));
    for stored in rig.fake.tokens.lock().unwrap().values_mut() {
        stored.tenant.body.kind = TenantKind::Other;
    }
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Suspended);
}

#[tokio::test]
async fn only_the_platforms_keys_can_be_an_operators() {
    let rig = Rig::new();
    let key = || StoredPrincipal::Key {
        id: KeyId::from_u128(1),
        grants: Grants::of([Grant::Operator]),
    };
    let forged = rig.token("acme", TenantState::Active, key());
    assert_eq!(rig.try_as(&forged).await.unwrap_err(), AuthError::Invalid);
    let real = rig.token("platform", TenantState::Active, key());
    assert!(crate::OperatorScope::of(&rig.try_as(&real).await.unwrap()).is_some());
    let plain = rig.token("acme", TenantState::Active, device("truck"));
    assert!(crate::OperatorScope::of(&rig.try_as(&plain).await.unwrap()).is_none());
}

#[tokio::test]
async fn an_address_that_fails_too_often_waits_and_others_do_not() {
    let rig = Rig::new();
    for _ in 0..5 {
        let unknown = format!(
            "Bearer {}",
            Token::generate(TokenKind::Device, &SystemRandom).reveal()
        );
        assert_eq!(
            rig.try_as(unknown.as_bytes()).await.unwrap_err(),
            AuthError::Invalid
        );
    }
    let good = rig.token("acme", TenantState::Active, device("truck"));
    assert!(matches!(
        rig.try_as(&good).await,
        Err(AuthError::TooManyFailures { retry_after_s: 1.. })
    ));
    let other = rig
        .authenticator
        .authenticate(Some(&good), Some([192, 0, 2, 2].into()))
        .await;
    assert!(other.is_ok());
    assert!(
        rig.try_as(&good).await.is_ok(),
        "what is verified already is not held up"
    );
}

#[tokio::test]
async fn passwords_work_are_not_hashed_again_when_due_and_a_changed_one_ends_the_old() {
    let rig = Rig::new();
    let login = |hash: String| StoredLogin {
        tenant: tenant("acme", TenantState::Active),
        control_version: 1,
        device: "truck".parse().unwrap(),
        disabled: false,
        passwords: vec![StoredPassword {
            credential: CredentialId::from_u128(4),
            hash,
            valid: Validity::default(),
            last_used_at: None,
        }],
    };
    let passwords = rig.authenticator.passwords();
    let first = passwords
        .hash("the first password".into(), &SystemRandom)
        .await
        .unwrap();
    let second = passwords
        .hash("the second password".into(), &SystemRandom)
        .await
        .unwrap();
    rig.fake
        .logins
        .lock()
        .unwrap()
        .insert("truck@acme".into(), login(first));
    let basic = |text: &str| {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(text)
        )
        .into_bytes()
    };
    let header = basic("truck@acme:the first password");
    rig.try_as(&header).await.unwrap();
    assert_eq!(
        rig.try_as(&basic("truck@acme:wrong")).await.unwrap_err(),
        AuthError::Invalid
    );
    assert_eq!(
        rig.try_as(&basic("nobody@acme:wrong")).await.unwrap_err(),
        AuthError::Invalid
    );
    rig.fake
        .logins
        .lock()
        .unwrap()
        .insert("truck@acme".into(), login(second));
    rig.pass(31);
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Invalid);
    assert!(
        rig.try_as(&basic("truck@acme:the second password"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_credential_holds_from_its_beginning_to_its_end_cached_or_not() {
    let rig = Rig::new();
    let start = rig.time.load(Ordering::SeqCst);
    let header = rig.token("acme", TenantState::Active, device("truck"));
    let bound = |not_before, expires_at| {
        for stored in rig.fake.tokens.lock().unwrap().values_mut() {
            stored.valid = Validity {
                not_before,
                expires_at,
            };
        }
    };
    bound(Some(start + 2_000_000), Some(start + 10_000_000));
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Invalid);
    // It was refused a moment ago, but not beyond its beginning.
    rig.pass(2);
    assert!(rig.try_as(&header).await.is_ok());
    rig.pass(7);
    assert!(rig.authenticator.cached(Some(&header)).is_some());
    rig.pass(1);
    assert!(
        rig.authenticator.cached(Some(&header)).is_none(),
        "it has ended"
    );
    rig.fake.away.store(true, Ordering::SeqCst);
    assert_eq!(
        rig.try_as(&header).await.unwrap_err(),
        AuthError::Unavailable,
        "nor does it outlive its end while the store is away"
    );
    rig.fake.away.store(false, Ordering::SeqCst);
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Invalid);
}

#[tokio::test]
async fn a_disabled_device_is_told_so_and_works_again_when_it_is_enabled() {
    let rig = Rig::new();
    let header = rig.token("acme", TenantState::Active, device("truck"));
    let id = rig.try_as(&header).await.unwrap().tenant.id;
    let disable = |to| {
        for stored in rig.fake.tokens.lock().unwrap().values_mut() {
            if let StoredPrincipal::Device { disabled, .. } = &mut stored.principal {
                *disabled = to;
            }
        }
        rig.authenticator.forget(id, ChangeKind::Device, "truck");
    };
    disable(true);
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Disabled);
    disable(false);
    assert!(rig.try_as(&header).await.is_ok());
}

#[tokio::test]
async fn each_of_several_passwords_works_in_its_own_time() {
    let rig = Rig::new();
    let start = rig.time.load(Ordering::SeqCst);
    let mut stored = StoredLogin {
        tenant: tenant("acme", TenantState::Active),
        control_version: 1,
        device: "truck".parse().unwrap(),
        disabled: false,
        passwords: Vec::new(),
    };
    let times = [(None, Some(start + 60_000_000)), (Some(start), None)];
    for (n, (not_before, expires_at)) in times.into_iter().enumerate() {
        let hashed = rig
            .authenticator
            .passwords()
            .hash(format!("password number {n}"), &SystemRandom)
            .await;
        stored.passwords.push(StoredPassword {
            credential: CredentialId::from_u128(n as u128),
            hash: hashed.unwrap(),
            valid: Validity {
                not_before,
                expires_at,
            },
            last_used_at: None,
        });
    }
    let key = "truck@acme".to_owned();
    rig.fake.logins.lock().unwrap().insert(key, stored);
    let headers = [0, 1].map(|n| {
        let login = format!("truck@acme:password number {n}");
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(login)
        )
        .into_bytes()
    });
    for header in &headers {
        assert!(rig.try_as(header).await.is_ok());
    }
    rig.pass(60);
    assert_eq!(
        rig.try_as(&headers[0]).await.unwrap_err(),
        AuthError::Invalid
    );
    assert!(rig.try_as(&headers[1]).await.is_ok());
    let drained = rig.authenticator.drain_uses();
    let used: Vec<SecretId> = drained.iter().map(|used| used.secret).collect();
    assert_eq!(used.len(), 2, "{used:?}");
}

#[tokio::test]
async fn a_provisioning_key_opens_nothing_but_enrolment() {
    let rig = Rig::new();
    let key = Token::generate(TokenKind::Provisioning, &SystemRandom);
    let header = format!("Bearer {}", key.reveal()).into_bytes();
    let stored = StoredCredential {
        tenant: tenant("acme", TenantState::Active),
        control_version: 1,
        principal: device("truck"),
        valid: Validity::default(),
        last_used_at: None,
    };
    let hash = rig.authenticator.hasher().hash(key.reveal().as_bytes());
    rig.fake.tokens.lock().unwrap().insert(hash, stored);
    assert_eq!(rig.try_as(&header).await.unwrap_err(), AuthError::Invalid);
    let secret = rig.authenticator.provisioning(Some(&header), None);
    assert_eq!(secret.map(|s| *s.hash()).unwrap_or_default(), hash);
    let token = rig.token("acme", TenantState::Active, device("truck"));
    let refused = rig.authenticator.provisioning(Some(&token), None);
    assert_eq!(refused.err(), Some(AuthError::Invalid));
}
