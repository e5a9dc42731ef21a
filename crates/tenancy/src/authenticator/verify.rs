//! One verification against the source.

use super::cache::Entry;
use super::{Authenticated, Authenticator, Away};
use crate::basic::{Login, Presented};
use crate::control::TenantKind;
use crate::role::PARTNER;
use crate::source::{MAX_PASSWORDS, StoredCredential, StoredPassword, StoredPrincipal};
use crate::token::{TokenKind, token_kind};
use crate::{Grant, Principal, SecretId};

/// What a caller was verified by.
pub(super) struct Proof {
    /// `None` where authentication is off.
    pub(super) secret: Option<SecretId>,
    /// Of a password: the stored form that it matched.
    pub(super) password_hash: Option<Box<str>>,
}

pub(super) struct Verified {
    pub(super) authenticated: Authenticated,
    pub(super) proof: Proof,
    /// As it was noted last.
    pub(super) last_used_at: Option<i64>,
}

pub(super) enum Found {
    Valid(Box<Verified>),
    /// The credential of a device that is turned off.
    Disabled,
    /// No such credential holds, nor will one before `until` (where nothing changes).
    Nothing {
        until: i64,
    },
}

const NOTHING: Found = Found::Nothing { until: i64::MAX };

/// The slug of the platform's own tenant, whose keys alone may be an operator's.
pub const PLATFORM_SLUG: &str = "platform";

impl Authenticator {
    pub(super) async fn find(
        &self,
        presented: Option<Presented<'_>>,
        known: Option<&Entry>,
        now: i64,
    ) -> Result<Found, Away> {
        if let Some(slug) = &self.settings.anyone_in {
            return self.find_anyone(slug).await;
        }
        match presented {
            None => Ok(NOTHING),
            Some(Presented::Token(token)) => self.find_token(token, now).await,
            Some(Presented::Login(login)) => self.find_login(login, known, now).await,
        }
    }

    async fn find_token(&self, token: &[u8], now: i64) -> Result<Found, Away> {
        if !matches!(token_kind(token), Some(TokenKind::Device | TokenKind::Key)) {
            return Ok(NOTHING);
        }
        // The lookup is by a keyed hash of 256 bits: how long it takes tells nothing of a token.
        let stored = self
            .source
            .by_token(self.hasher.hash(token))
            .await
            .map_err(Away::Source)?;
        Ok(stored.map_or(NOTHING, |stored| self.valid(stored, now)))
    }

    async fn find_login(
        &self,
        login: Login,
        known: Option<&Entry>,
        now: i64,
    ) -> Result<Found, Away> {
        let stored = self
            .source
            .by_login(&login.tenant_slug, &login.device, now)
            .await
            .map_err(Away::Source)?;
        let passwords = stored.as_ref().map_or(&[][..], |s| s.passwords.as_slice());
        let (holding, others): (Vec<_>, Vec<_>) = passwords
            .iter()
            .take(MAX_PASSWORDS)
            .partition(|p| p.valid.holds(now));
        // A password that matched the same stored form before need not be hashed again.
        let matched = known.and_then(|k| k.proof.password_hash.as_deref());
        let unchanged = holding.iter().find(|p| Some(p.hash.as_str()) == matched);
        let found = match unchanged {
            Some(found) => Some(*found),
            None => self.matching(login.password, &holding).await?,
        };
        let Some(password) = found.cloned() else {
            let begins = others.iter().filter_map(|p| p.valid.not_before);
            let until = begins.filter(|at| *at > now).min().unwrap_or(i64::MAX);
            return Ok(Found::Nothing { until });
        };
        let Some(stored) = stored else {
            return Ok(NOTHING);
        };
        if stored.disabled {
            return Ok(Found::Disabled);
        }
        let principal = Principal::Device(stored.device);
        let authenticated = Authenticated::new(
            self.cached.share(stored.tenant),
            principal,
            stored.control_version,
            password.valid.ends_at(),
        );
        Ok(Found::Valid(Box::new(Verified {
            authenticated,
            proof: Proof {
                secret: Some(SecretId::Credential(password.credential)),
                password_hash: Some(password.hash.into()),
            },
            last_used_at: password.last_used_at,
        })))
    }

    /// Which of them the password is. Without any it takes as long as with one.
    async fn matching<'a>(
        &self,
        password: Vec<u8>,
        stored: &[&'a StoredPassword],
    ) -> Result<Option<&'a StoredPassword>, Away> {
        if stored.is_empty() {
            let checked = self.passwords.verify(password, None).await;
            return checked.map(|_| None).map_err(Away::Password);
        }
        for one in stored {
            let hash = Some(one.hash.clone());
            let checked = self.passwords.verify(password.clone(), hash).await;
            if checked.map_err(Away::Password)? {
                return Ok(Some(one));
            }
        }
        Ok(None)
    }

    fn valid(&self, stored: StoredCredential, now: i64) -> Found {
        if !stored.valid.holds(now) {
            let until = stored.valid.not_before.filter(|at| *at > now);
            return Found::Nothing {
                until: until.unwrap_or(i64::MAX),
            };
        }
        let (principal, secret) = match stored.principal {
            StoredPrincipal::Device { disabled: true, .. } => return Found::Disabled,
            StoredPrincipal::Device {
                device, credential, ..
            } => (Principal::Device(device), SecretId::Credential(credential)),
            StoredPrincipal::Key { id, grants } => {
                if grants.has(Grant::Operator) && stored.tenant.slug != PLATFORM_SLUG {
                    tracing::error!(key = %id, tenant = %stored.tenant.id, "a tenant's key carries the operator's grant: refused; delete the key");
                    return NOTHING;
                }
                let grants = match stored.tenant.body.kind {
                    TenantKind::Partner => grants.common(PARTNER),
                    _ => grants,
                };
                (Principal::Key { id, grants }, SecretId::Key(id))
            }
        };
        let authenticated = Authenticated::new(
            self.cached.share(stored.tenant),
            principal,
            stored.control_version,
            stored.valid.ends_at(),
        );
        Found::Valid(Box::new(Verified {
            authenticated,
            proof: Proof {
                secret: Some(secret),
                password_hash: None,
            },
            last_used_at: stored.last_used_at,
        }))
    }
}
