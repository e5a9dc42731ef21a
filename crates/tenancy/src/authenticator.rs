//! Turns an `Authorization` header into a [`TenantScope`].
//!
//! What has been verified is cached under a keyed hash of the whole header, so that neither
//! tokens nor passwords are kept. A cached entry is taken as it is for `refresh_seconds`, then
//! verified anew. While the store is away, an entry is accepted until it is `offline_seconds`
//! old; a credential that is not cached is then neither accepted nor refused.
//!
//! Where authentication is off, every request acts as [`crate::Principal::Anyone`] in one
//! namespace, which is cached and read anew in the same way.

mod anyone;
mod cache;
mod caller;
mod provisioning;
mod verify;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::failures::{FailureKey, FailureLimiter};
use crate::source::{CredentialSource, SourceError};
use crate::token::TokenHasher;
use crate::uses::Uses;
use crate::{Clock, CredentialUse, PasswordError, Passwords, TenantId, basic};

use cache::{Cached, Entry};
pub use caller::{Authenticated, Caller, Home, TenantMismatch};
pub use provisioning::ProvisioningSecret;
use verify::{Found, Verified};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error(
        "no credentials were sent; send a bearer token, or HTTP basic credentials as device@tenant"
    )]
    Missing,
    #[error("the credentials are not valid")]
    Invalid,
    #[error("the tenant is not active; ask the operator")]
    Suspended,
    #[error("the device is disabled; ask its tenant")]
    Disabled,
    #[error("authentication failed too often; try again in {retry_after_s} s")]
    TooManyFailures { retry_after_s: u32 },
    #[error("credentials cannot be verified at the moment; try again later")]
    Unavailable,
    #[error(
        "the namespace that all share is not there yet: control makes it at the first start; try again later"
    )]
    NoNamespace,
}

/// What a control change is about, as far as authentication cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Tenant,
    Device,
    Credential,
    Key,
}

#[derive(Clone)]
pub struct AuthSettings {
    /// The deployment's secret under which tokens are hashed. The same on all nodes, for ever.
    pub hash_key: [u8; 32],
    /// Credentials that are kept verified.
    pub cache_entries: usize,
    /// A cached credential is verified anew after this long.
    pub refresh_seconds: u32,
    /// A cached credential is accepted for this long while the store is away.
    pub offline_seconds: u32,
    /// A refused credential is refused for this long without asking again.
    pub negative_seconds: u32,
    /// Failures a minute from one address before it has to wait.
    pub failures_per_address: u32,
    /// Failures a minute of one device's password before it has to wait.
    pub failures_per_device: u32,
    /// Passwords hashed at a time.
    pub password_threads: usize,
    /// Turns authentication off: the slug of the namespace in which everybody does everything.
    pub anyone_in: Option<String>,
}

impl AuthSettings {
    pub fn new(hash_key: [u8; 32]) -> Self {
        AuthSettings {
            hash_key,
            cache_entries: 200_000,
            refresh_seconds: 30,
            offline_seconds: 900,
            negative_seconds: 5,
            failures_per_address: 60,
            failures_per_device: 20,
            password_threads: 2,
            anyone_in: None,
        }
    }
}

/// Shared by all listeners of a process.
pub struct Authenticator {
    source: Arc<dyn CredentialSource>,
    settings: AuthSettings,
    clock: Arc<dyn Clock>,
    hasher: TokenHasher,
    passwords: Passwords,
    cached: Cached,
    failures: FailureLimiter,
    uses: Uses,
    /// Since when the store is away; 0 while it is there.
    away_since: AtomicI64,
}

impl Authenticator {
    pub fn new(
        source: Arc<dyn CredentialSource>,
        settings: AuthSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Authenticator {
            source,
            hasher: TokenHasher::new(&settings.hash_key),
            passwords: Passwords::new(settings.password_threads),
            cached: Cached::new(settings.cache_entries),
            failures: FailureLimiter::new(
                65_536,
                settings.failures_per_address,
                settings.failures_per_device,
            ),
            uses: Uses::default(),
            away_since: AtomicI64::new(0),
            settings,
            clock,
        }
    }

    /// Makes the hashes under which new tokens are stored.
    pub fn hasher(&self) -> &TokenHasher {
        &self.hasher
    }

    /// The pool that hashes passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Whether nobody has to say who they are.
    pub fn is_off(&self) -> bool {
        self.settings.anyone_in.is_some()
    }

    /// The caller, where it was verified lately; else [`Authenticator::authenticate`] has to be
    /// asked. Does not wait.
    pub fn cached(&self, authorization: Option<&[u8]>) -> Option<Authenticated> {
        let header = self.header(authorization).ok()?;
        let entry = self.cached.get(self.cache_key(header))?;
        entry
            .holds(self.clock.now_us(), &self.settings)
            .then(|| entry.authenticated.clone())
    }

    /// The caller. `peer` is whose failures are counted; `None` for a local socket.
    pub async fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        peer: Option<IpAddr>,
    ) -> Result<Authenticated, AuthError> {
        let header = self.header(authorization)?;
        let key = self.cache_key(header);
        let now = self.clock.now_us();
        let known = self.cached.get(key);
        if let Some(entry) = known
            .as_ref()
            .filter(|e| e.holds_or_claim(now, &self.settings))
        {
            return Ok(entry.authenticated.clone());
        }
        let address = peer.map(FailureKey::address);
        if known.is_none() {
            self.refuse_after_failures(address.as_ref(), now)?;
            if self.cached.was_refused(key, now) {
                return Err(self.failed(address.as_ref(), None, now));
            }
        }
        let presented = basic::parse(header);
        let device = match &presented {
            Some(basic::Presented::Login(login)) => {
                Some(FailureKey::Device(self.hasher.cache_key(&[
                    login.tenant_slug.as_bytes(),
                    b"/",
                    login.device.as_bytes(),
                ])))
            }
            _ => None,
        };
        if known.is_none() {
            self.refuse_after_failures(device.as_ref(), now)?;
        }
        let mark = self.cached.mark();
        match self.find(presented, known.as_deref(), now).await {
            Ok(Found::Valid(verified)) => {
                self.away_since.store(0, Ordering::Relaxed);
                let Verified {
                    authenticated,
                    proof,
                    last_used_at,
                } = *verified;
                let active = authenticated.tenant.body.is_active();
                let tenant = authenticated.tenant.id;
                if active {
                    if let Some(secret) = proof.secret {
                        let used = CredentialUse {
                            tenant,
                            secret,
                            at: now,
                        };
                        self.uses.note(used, last_used_at);
                    }
                    let entry = Entry::new(authenticated.clone(), proof, self.clock.now_us());
                    self.cached.insert(key, tenant, entry, mark);
                    Ok(authenticated)
                } else {
                    self.cached.remove(key);
                    Err(AuthError::Suspended)
                }
            }
            Ok(Found::Disabled) => {
                self.away_since.store(0, Ordering::Relaxed);
                self.cached.remove(key);
                Err(AuthError::Disabled)
            }
            Ok(Found::Nothing { until }) => {
                self.away_since.store(0, Ordering::Relaxed);
                self.cached.remove(key);
                let negative_us = i64::from(self.settings.negative_seconds) * 1_000_000;
                self.cached.refuse(key, until.min(now + negative_us));
                Err(self.failed(address.as_ref(), device.as_ref(), now))
            }
            Err(Away::Source(error)) => {
                self.note_away(&error, now);
                let offline_us = i64::from(self.settings.offline_seconds) * 1_000_000;
                // Looked up again: a change may have dropped it meanwhile.
                match self
                    .cached
                    .get(key)
                    .filter(|e| now - e.verified_at() < offline_us && !e.ended(now))
                {
                    Some(entry) => {
                        entry.accept_unverified(now);
                        Ok(entry.authenticated.clone())
                    }
                    None => Err(AuthError::Unavailable),
                }
            }
            Err(Away::Namespace) => {
                self.away_since.store(0, Ordering::Relaxed);
                self.cached.remove(key);
                Err(AuthError::NoNamespace)
            }
            Err(Away::Password(error)) => {
                tracing::warn!(%error, "a password could not be checked");
                Err(AuthError::Unavailable)
            }
        }
    }

    /// A control change arrived: what is cached of that tenant, device, credential or key is
    /// dropped, and what is being looked up at this moment is not kept.
    pub fn forget(&self, tenant: TenantId, kind: ChangeKind, id: &str) {
        self.cached.forget(tenant, kind, id);
    }

    /// Credentials that were used since the last call, each at most once in
    /// [`crate::NOTED_EVERY_US`], for the store to note.
    pub fn drain_uses(&self) -> Vec<CredentialUse> {
        self.uses.drain()
    }

    /// Why known credentials are accepted without the store, if they are.
    pub fn degraded(&self) -> Option<String> {
        let since = self.away_since.load(Ordering::Relaxed);
        (since > 0).then(|| {
            format!(
                "credentials cannot be looked up since {} s; known ones are accepted for {} s after they were last verified",
                (self.clock.now_us() - since) / 1_000_000,
                self.settings.offline_seconds
            )
        })
    }

    /// What there is to verify: nothing where authentication is off, whatever was sent.
    fn header<'h>(&self, authorization: Option<&'h [u8]>) -> Result<&'h [u8], AuthError> {
        if self.is_off() {
            return Ok(b"");
        }
        let header = authorization.ok_or(AuthError::Missing)?;
        if header.len() > basic::MAX_HEADER {
            return Err(AuthError::Invalid);
        }
        Ok(header)
    }

    fn cache_key(&self, header: &[u8]) -> u128 {
        self.hasher.cache_key(&[header])
    }

    fn refuse_after_failures(&self, key: Option<&FailureKey>, now: i64) -> Result<(), AuthError> {
        let Some(key) = key else { return Ok(()) };
        self.failures
            .check(key, now)
            .map_err(|retry_after_s| AuthError::TooManyFailures { retry_after_s })
    }

    fn failed(
        &self,
        address: Option<&FailureKey>,
        device: Option<&FailureKey>,
        now: i64,
    ) -> AuthError {
        for key in [address, device].into_iter().flatten() {
            self.failures.failed(key, now);
        }
        AuthError::Invalid
    }

    fn note_away(&self, error: &SourceError, now: i64) {
        if self
            .away_since
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            tracing::warn!(%error, "the store is away: known credentials are accepted without it");
        }
    }
}

/// Why nothing can be said about a credential.
enum Away {
    Source(SourceError),
    Password(PasswordError),
    /// Authentication is off, and the namespace for everybody is not there yet.
    Namespace,
}

#[cfg(test)]
mod tests;
