//! An authenticator at a time of its own, and a source that may be away.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use futures_util::future::BoxFuture;

use super::super::*;
use crate::control::{TenantBody, TenantKind, TenantState};
use crate::source::TenantInfo;
use crate::{
    CredentialId, Placement, StoredCredential, StoredLogin, StoredNamespace, StoredPrincipal,
    SystemRandom, Token, TokenKind, Validity,
};

#[derive(Default)]
pub(super) struct Fake {
    pub(super) tokens: Mutex<HashMap<[u8; 32], StoredCredential>>,
    pub(super) logins: Mutex<HashMap<String, StoredLogin>>,
    pub(super) namespace: Mutex<Option<StoredNamespace>>,
    pub(super) away: AtomicBool,
    pub(super) lookups: AtomicUsize,
}

impl Fake {
    fn answer<T>(&self, found: Option<T>) -> Result<Option<T>, SourceError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            Err(SourceError::new("the test said so"))
        } else {
            Ok(found)
        }
    }
}

impl CredentialSource for Fake {
    fn by_token(
        &self,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<StoredCredential>, SourceError>> {
        Box::pin(async move { self.answer(self.tokens.lock().unwrap().get(&hash).cloned()) })
    }

    fn by_login<'a>(
        &'a self,
        slug: &'a str,
        device: &'a str,
        _: i64,
    ) -> BoxFuture<'a, Result<Option<StoredLogin>, SourceError>> {
        Box::pin(async move {
            self.answer(
                self.logins
                    .lock()
                    .unwrap()
                    .get(&format!("{device}@{slug}"))
                    .cloned(),
            )
        })
    }

    fn shared_namespace<'a>(
        &'a self,
        slug: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredNamespace>, SourceError>> {
        let found = self.namespace.lock().unwrap().clone();
        Box::pin(async move { self.answer(found.filter(|found| found.tenant.slug == slug)) })
    }
}

pub(super) struct Rig {
    pub(super) fake: Arc<Fake>,
    pub(super) time: Arc<AtomicI64>,
    pub(super) authenticator: Authenticator,
}

pub(super) fn tenant(slug: &str, state: TenantState) -> TenantInfo {
    let id = TenantId::from_u128(slug.bytes().fold(0, |a, b| a * 131 + u128::from(b)));
    let body = TenantBody {
        state,
        ..TenantBody::plain(slug, Placement::first(id, 4, 24))
    };
    TenantInfo {
        id,
        slug: slug.into(),
        body,
    }
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(|_| {})
    }

    /// Without authentication.
    pub(super) fn open() -> Rig {
        Rig::with(|settings| settings.anyone_in = Some("default".to_owned()))
    }

    pub(super) fn with(change: impl FnOnce(&mut AuthSettings)) -> Rig {
        let fake = Arc::new(Fake::default());
        let time = Arc::new(AtomicI64::new(1_700_000_000_000_000));
        let clock = {
            let time = time.clone();
            move || time.load(Ordering::SeqCst)
        };
        let mut settings = AuthSettings::new([7; 32]);
        settings.failures_per_address = 5;
        settings.failures_per_device = 3;
        change(&mut settings);
        let authenticator = Authenticator::new(fake.clone(), settings, Arc::new(clock));
        Rig {
            fake,
            time,
            authenticator,
        }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub(super) fn token(
        &self,
        slug: &str,
        state: TenantState,
        principal: StoredPrincipal,
    ) -> Vec<u8> {
        let token = Token::generate(TokenKind::Device, &SystemRandom);
        let stored = StoredCredential {
            tenant: tenant(slug, state),
            control_version: 3,
            principal,
            valid: Validity::default(),
            last_used_at: None,
        };
        let hash = self.authenticator.hasher().hash(token.reveal().as_bytes());
        self.fake.tokens.lock().unwrap().insert(hash, stored);
        format!("Bearer {}", token.reveal()).into_bytes()
    }

    pub(super) fn namespace(&self, kind: TenantKind) -> TenantId {
        let mut tenant = tenant("default", TenantState::Active);
        tenant.body.kind = kind;
        let id = tenant.id;
        *self.fake.namespace.lock().unwrap() = Some(StoredNamespace {
            tenant,
            control_version: 5,
        });
        id
    }

    pub(super) async fn try_as(&self, header: &[u8]) -> Result<Authenticated, AuthError> {
        self.authenticator
            .authenticate(Some(header), Some([192, 0, 2, 1].into()))
            .await
    }
}

pub(super) fn device(name: &str) -> StoredPrincipal {
    StoredPrincipal::Device {
        device: name.parse().unwrap(),
        credential: CredentialId::from_u128(9),
        disabled: false,
    }
}
