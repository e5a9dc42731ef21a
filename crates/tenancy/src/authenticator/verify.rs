//! One verification against the source.

use std::sync::Arc;

use super::cache::Entry;
use super::{Authenticated, Authenticator, Away};
use crate::basic::{Login, Presented};
use crate::source::{StoredCredential, StoredPrincipal};
use crate::token::token_kind;
use crate::{CredentialId, Grant, Principal, TenantScope};

/// The credential that was used and the stored form that a password matched.
pub(super) type Proof = (Option<CredentialId>, Option<Box<str>>);

pub(super) enum Found {
    Valid(Authenticated, Proof),
    Nothing,
}

/// The slug of the platform's own tenant, whose keys alone may be an operator's.
pub const PLATFORM_SLUG: &str = "platform";

impl Authenticator {
    pub(super) async fn find(
        &self,
        presented: Option<Presented<'_>>,
        known: Option<&Entry>,
    ) -> Result<Found, Away> {
        match presented {
            None => Ok(Found::Nothing),
            Some(Presented::Token(token)) => self.find_token(token).await,
            Some(Presented::Login(login)) => self.find_login(login, known).await,
        }
    }

    async fn find_token(&self, token: &[u8]) -> Result<Found, Away> {
        if token_kind(token).is_none() {
            return Ok(Found::Nothing);
        }
        // The lookup is by a keyed hash of 256 bits: how long it takes tells nothing of a token.
        let stored = self
            .source
            .by_token(self.hasher.hash(token))
            .await
            .map_err(Away::Source)?;
        Ok(stored.map_or(Found::Nothing, valid))
    }

    async fn find_login(&self, login: Login, known: Option<&Entry>) -> Result<Found, Away> {
        let stored = self
            .source
            .by_login(&login.tenant_slug, &login.device)
            .await
            .map_err(Away::Source)?;
        // A password that matched the same stored form before need not be hashed again.
        let unchanged = match (&stored, known.and_then(|k| k.password_hash.as_deref())) {
            (Some(stored), Some(matched)) => stored.password_hash == matched,
            _ => false,
        };
        let hash = stored.as_ref().map(|s| s.password_hash.clone());
        if !unchanged
            && !self
                .passwords
                .verify(login.password, hash)
                .await
                .map_err(Away::Password)?
        {
            return Ok(Found::Nothing);
        }
        let Some(stored) = stored else {
            return Ok(Found::Nothing);
        };
        let authenticated = Authenticated {
            scope: TenantScope::new(stored.tenant.id, Principal::Device(stored.device)),
            tenant: Arc::new(stored.tenant),
            control_version: stored.control_version,
        };
        Ok(Found::Valid(
            authenticated,
            (Some(stored.credential), Some(stored.password_hash.into())),
        ))
    }
}

fn valid(stored: StoredCredential) -> Found {
    let (principal, credential) = match stored.principal {
        StoredPrincipal::Device { device, credential } => {
            (Principal::Device(device), Some(credential))
        }
        StoredPrincipal::Key { id, grants } => {
            if grants.has(Grant::Operator) && stored.tenant.slug != PLATFORM_SLUG {
                tracing::error!(key = %id, tenant = %stored.tenant.id, "a tenant's key carries the operator's grant: refused; delete the key");
                return Found::Nothing;
            }
            (Principal::Key { id, grants }, None)
        }
    };
    let authenticated = Authenticated {
        scope: TenantScope::new(stored.tenant.id, principal),
        tenant: Arc::new(stored.tenant),
        control_version: stored.control_version,
    };
    Found::Valid(authenticated, (credential, None))
}
