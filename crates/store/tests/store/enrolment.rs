//! Devices that come in by themselves.

use std::sync::Arc;

use crate::devices::limit;
use crate::support::{NOW, Rig, authority, device, operator, rig};
use laneway_store::{
    Enrolled, Enrolment, NewToken, NotEnrolled, ProvisioningTerms, Store, StoreCredentials,
};
use laneway_tenancy::control::TenantState;
use laneway_tenancy::{
    AuthSettings, Authenticator, CredentialId, CredentialSource, DeviceDetails, ProvisioningKeyId,
    ProvisioningSecret, SystemRandom, TenantScope, Token, TokenKind,
};
use laneway_testkit::Database;

laneway_testkit::on_both_databases!(
    a_device_comes_in_with_what_its_key_gives,
    a_key_lets_in_whom_it_is_for,
    only_who_proves_it_comes_in_again_and_the_token_before_ends,
    a_key_lets_in_so_many_however_many_come_at_a_time,
);

pub fn terms() -> ProvisioningTerms {
    ProvisioningTerms {
        name: "line 3".into(),
        pattern: "truck-*".into(),
        details: DeviceDetails {
            name: String::new(),
            group: "north".into(),
            labels: [("line".to_owned(), "3".to_owned())].into(),
        },
        max_uses: 0,
        expires_at: None,
    }
}

/// A key of the tenant, as it is presented.
pub async fn key(
    store: &Store,
    scope: &TenantScope,
    id: u128,
    terms: ProvisioningTerms,
) -> ProvisioningSecret {
    let authenticator = Authenticator::new(
        Arc::new(StoreCredentials(store.clone())),
        AuthSettings::new([5; 32]),
        Arc::new(|| NOW),
    );
    let token = Token::generate(TokenKind::Provisioning, &SystemRandom);
    let hash = authenticator.hasher().hash(token.reveal().as_bytes());
    store
        .provisioning_keys(scope)
        .create(ProvisioningKeyId::from_u128(id), terms, hash, NOW)
        .await
        .unwrap();
    let header = format!("Bearer {}", token.reveal());
    authenticator
        .provisioning(Some(header.as_bytes()), None)
        .unwrap()
}

async fn enrol(
    rig: &Rig,
    secret: &ProvisioningSecret,
    id: &str,
    token: u8,
    proof: Option<u8>,
) -> Result<Enrolled, NotEnrolled> {
    let new = Enrolment {
        device: device(id),
        proof: proof.map(|p| [p; 32]),
        hardware: [("serial".to_owned(), format!("s{token}"))].into(),
        token: NewToken {
            credential: CredentialId::from_u128(token.into()),
            hash: [token; 32],
        },
    };
    rig.store
        .enrol(&authority(), secret, new, |_| true, NOW)
        .await
        .unwrap()
}

async fn works(rig: &Rig, token: u8) -> bool {
    let source = StoreCredentials(rig.store.clone());
    source.by_token([token; 32]).await.unwrap().is_some()
}

async fn a_device_comes_in_with_what_its_key_gives(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let secret = key(&rig.store, &scope, 1, terms()).await;
    let enrolled = enrol(&rig, &secret, "truck-7", 1, None).await.unwrap();
    assert_eq!(
        (enrolled.tenant, enrolled.slug.as_str(), enrolled.again),
        (tenant.id, "acme", false)
    );
    let devices = rig.store.devices(&scope);
    let found = devices.find(&device("truck-7")).await.unwrap().unwrap();
    assert_eq!(found.details, terms().details);
    let by = devices.enrolled_by(&device("truck-7")).await.unwrap();
    let by = by.unwrap();
    assert_eq!(by.key, ProvisioningKeyId::from_u128(1));
    assert_eq!(by.hardware["serial"], "s1");
    assert!(works(&rig, 1).await);
    let keys = rig.store.provisioning_keys(&scope);
    assert_eq!(keys.list(None, 10).await.unwrap()[0].uses, 1);
    assert_eq!(rig.versions(&scope).await, [1, 2]);
    // Whoever it came from, a device goes like any other.
    devices.delete(&device("truck-7"), NOW).await.unwrap();
    assert!(!works(&rig, 1).await);
}

async fn a_key_lets_in_whom_it_is_for(database: Database) {
    let rig = rig(database).await;
    let (tenant, scope) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let secret = key(&rig.store, &scope, 1, terms()).await;
    let refused = enrol(&rig, &secret, "van-7", 1, None).await;
    assert_eq!(refused, Err(NotEnrolled::Pattern("truck-*".into())));
    rig.store
        .devices(&scope)
        .create(&device("truck-1"), NOW)
        .await
        .unwrap();
    let refused = enrol(&rig, &secret, "truck-1", 1, None).await;
    assert_eq!(
        refused,
        Err(NotEnrolled::Exists),
        "its tenant registered it"
    );
    let expired = ProvisioningTerms {
        expires_at: Some(NOW),
        ..terms()
    };
    let expired = key(&rig.store, &scope, 2, expired).await;
    let refused = enrol(&rig, &expired, "truck-2", 2, None).await;
    assert_eq!(refused, Err(NotEnrolled::Expired));
    limit(&rig, tenant.id, 1).await;
    let refused = enrol(&rig, &secret, "truck-2", 2, None).await;
    assert_eq!(refused, Err(NotEnrolled::OverLimit { most: 1 }));
    limit(&rig, tenant.id, 0).await;
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    for (state, expected) in [
        (TenantState::Suspended, Some(NotEnrolled::TenantInactive)),
        (TenantState::Active, None),
    ] {
        tenants.set_state(tenant.id, state, NOW).await.unwrap();
        let outcome = enrol(&rig, &secret, "truck-2", 2, None).await;
        assert_eq!(outcome.err(), expected);
    }
    let id = ProvisioningKeyId::from_u128(1);
    let theirs = rig.store.provisioning_keys(&other);
    assert!(theirs.delete(id, NOW).await.is_err(), "another tenant's");
    assert_eq!(theirs.list(None, 10).await.unwrap(), []);
    rig.store
        .provisioning_keys(&scope)
        .delete(id, NOW)
        .await
        .unwrap();
    let refused = enrol(&rig, &secret, "truck-3", 3, None).await;
    assert_eq!(refused, Err(NotEnrolled::UnknownKey));
    assert!(works(&rig, 2).await && !works(&rig, 3).await);
}

async fn only_who_proves_it_comes_in_again_and_the_token_before_ends(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let once = ProvisioningTerms {
        max_uses: 1,
        ..terms()
    };
    let secret = key(&rig.store, &scope, 1, once).await;
    let another = key(&rig.store, &scope, 2, terms()).await;
    let first = enrol(&rig, &secret, "truck-7", 1, Some(42)).await;
    assert!(!first.unwrap().again);
    for (key, proof) in [(&secret, None), (&secret, Some(43)), (&another, Some(42))] {
        let refused = enrol(&rig, key, "truck-7", 2, proof).await;
        assert_eq!(refused, Err(NotEnrolled::Exists));
    }
    assert!(works(&rig, 1).await && !works(&rig, 2).await);
    let again = enrol(&rig, &secret, "truck-7", 3, Some(42)).await;
    assert!(again.unwrap().again, "though the key is used up");
    assert!(!works(&rig, 1).await && works(&rig, 3).await);
    assert_eq!(
        enrol(&rig, &secret, "truck-8", 4, Some(42)).await,
        Err(NotEnrolled::UsedUp)
    );
    // A device that came in without a proof does not come in again.
    let first = enrol(&rig, &another, "truck-9", 5, None).await;
    assert!(first.is_ok());
    let refused = enrol(&rig, &another, "truck-9", 6, None).await;
    assert_eq!(refused, Err(NotEnrolled::Exists));
    let versions = rig.versions(&scope).await;
    assert!(versions.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

async fn a_key_lets_in_so_many_however_many_come_at_a_time(database: Database) {
    let rig = Arc::new(rig(database).await);
    let (_, scope) = rig.tenant("acme").await;
    let three = ProvisioningTerms {
        max_uses: 3,
        ..terms()
    };
    let secret = Arc::new(key(&rig.store, &scope, 1, three).await);
    let mut tasks = Vec::new();
    for n in 1..=10 {
        let (rig, secret) = (rig.clone(), secret.clone());
        tasks.push(tokio::spawn(async move {
            let id = format!("truck-{n}");
            enrol(&rig, &secret, &id, n, None).await.is_ok()
        }));
    }
    let mut came = 0;
    for task in tasks {
        came += usize::from(task.await.unwrap());
    }
    assert_eq!(came, 3);
    let devices = rig.store.devices(&scope).list(None, 100).await.unwrap();
    assert_eq!(devices.len(), 3);
}
