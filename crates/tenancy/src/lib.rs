//! Who a request acts for. Identifiers, the [`TenantScope`] that only authentication makes,
//! credentials, and placement: which lanes a tenant has and which of them a device uses.

mod authenticator;
mod basic;
mod clock;
pub mod control;
pub mod details;
mod failures;
mod gcra;
pub mod hosts;
mod id;
pub mod limits;
mod operator;
pub mod options;
pub mod password;
mod placement;
pub mod quota;
mod random;
mod role;
mod scope;
mod share;
pub mod slug;
mod source;
mod token;
mod uses;
mod validity;

pub use authenticator::{
    AuthError, AuthSettings, Authenticated, Authenticator, Caller, ChangeKind, Home,
    ProvisioningSecret, TenantMismatch,
};
pub use clock::Clock;
pub use details::DeviceDetails;
pub use gcra::{Gcra, Rate};
pub use hosts::{Claim, HostPattern, Hosts};
pub use id::{
    AccountId, CredentialId, DestinationId, DeviceId, GrantId, IdError, KeyId, ProvisioningKeyId,
    SessionId, TenantId,
};
pub use limits::{Limited, TenantLimiter};
pub use operator::{LocalSocket, OperatorScope};
pub use password::{PasswordError, Passwords};
pub use placement::{Placement, lanes_of, spread};
pub use random::{Random, SystemRandom, new_id};
pub use role::Role;
pub use scope::{Grant, Grants, Principal, TenantScope};
pub use share::ShareError;
pub use source::{
    CredentialSource, MAX_PASSWORDS, SourceError, StoredCredential, StoredLogin, StoredNamespace,
    StoredPassword, StoredPrincipal, TenantInfo,
};
pub use token::{Token, TokenHasher, TokenKind, token_kind};
pub use uses::{CredentialUse, NOTED_EVERY_US, SecretId};
pub use validity::Validity;
