//! Provisioning keys: never cached, so that one that is revoked lets nobody in any more.

use std::net::IpAddr;

use super::{AuthError, Authenticator};
use crate::TokenKind;
use crate::basic::{self, Presented};
use crate::failures::FailureKey;
use crate::token::token_kind;

/// The keyed hash of a well-formed provisioning key that was presented; the store knows whether
/// there is such a one.
pub struct ProvisioningSecret([u8; 32]);

impl ProvisioningSecret {
    pub fn hash(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Authenticator {
    /// What a device presents to enrol itself with.
    pub fn provisioning(
        &self,
        authorization: Option<&[u8]>,
        peer: Option<IpAddr>,
    ) -> Result<ProvisioningSecret, AuthError> {
        let header = authorization.ok_or(AuthError::Missing)?;
        let address = peer.map(FailureKey::address);
        let now = self.clock.now_us();
        self.refuse_after_failures(address.as_ref(), now)?;
        match basic::parse(header) {
            Some(Presented::Token(token)) if token_kind(token) == Some(TokenKind::Provisioning) => {
                Ok(ProvisioningSecret(self.hasher.hash(token)))
            }
            _ => Err(self.failed(address.as_ref(), None, now)),
        }
    }

    /// The store has no such key: counts as a failure of the address.
    pub fn provisioning_failed(&self, peer: Option<IpAddr>) -> AuthError {
        let address = peer.map(FailureKey::address);
        self.failed(address.as_ref(), None, self.clock.now_us())
    }
}
