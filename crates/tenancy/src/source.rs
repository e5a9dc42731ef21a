//! What authentication asks the store for.

use std::fmt;
use std::future::ready;

use futures_util::future::BoxFuture;

use crate::control::TenantBody;
use crate::{CredentialId, DeviceId, Grants, KeyId, TenantId, Validity};

/// Passwords that a device may have at a time, and so hashes that a login may cost.
pub const MAX_PASSWORDS: usize = 4;

/// A tenant as a request needs it: placement, limits, state.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantInfo {
    pub id: TenantId,
    pub slug: String,
    pub body: TenantBody,
}

/// Whom a stored token belongs to.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredPrincipal {
    Device {
        device: DeviceId,
        credential: CredentialId,
        /// The device is turned off for a while: its credentials are right, and let it do nothing.
        disabled: bool,
    },
    Key {
        id: KeyId,
        grants: Grants,
    },
}

/// A device token or an API key, with its tenant in whatever state that is.
#[derive(Debug, Clone)]
pub struct StoredCredential {
    pub tenant: TenantInfo,
    /// The tenant's control version that this was read at.
    pub control_version: i64,
    pub principal: StoredPrincipal,
    pub valid: Validity,
    /// As it was noted last.
    pub last_used_at: Option<i64>,
}

/// The passwords of a device.
#[derive(Debug, Clone)]
pub struct StoredLogin {
    pub tenant: TenantInfo,
    /// The tenant's control version that this was read at.
    pub control_version: i64,
    pub device: DeviceId,
    pub disabled: bool,
    /// At most [`MAX_PASSWORDS`], whether they hold at this time or not.
    pub passwords: Vec<StoredPassword>,
}

#[derive(Debug, Clone)]
pub struct StoredPassword {
    pub credential: CredentialId,
    /// Argon2id, as a PHC string.
    pub hash: String,
    pub valid: Validity,
    /// As it was noted last.
    pub last_used_at: Option<i64>,
}

/// A namespace, for who acts in it without credentials.
#[derive(Debug, Clone)]
pub struct StoredNamespace {
    pub tenant: TenantInfo,
    /// The namespace's control version that this was read at.
    pub control_version: i64,
}

/// The source is away; nothing is known about the credential.
#[derive(Debug, Clone, thiserror::Error)]
#[error("credentials cannot be looked up: {0}")]
pub struct SourceError(pub String);

impl SourceError {
    pub fn new(reason: impl fmt::Display) -> Self {
        SourceError(reason.to_string())
    }
}

/// Where credentials are kept: the store. What a source does not say itself it does not have.
pub trait CredentialSource: Send + Sync + 'static {
    /// By the keyed hash of a device token or an API key.
    fn by_token(
        &self,
        _hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<StoredCredential>, SourceError>> {
        Box::pin(ready(Ok(None)))
    }

    /// By what a device logs in as. The slug may be one that the tenant had until lately.
    fn by_login<'a>(
        &'a self,
        _tenant_slug: &'a str,
        _device: &'a str,
        _now: i64,
    ) -> BoxFuture<'a, Result<Option<StoredLogin>, SourceError>> {
        Box::pin(ready(Ok(None)))
    }

    /// The namespace that all share, by its slug.
    fn shared_namespace<'a>(
        &'a self,
        _slug: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredNamespace>, SourceError>> {
        Box::pin(ready(Ok(None)))
    }
}
