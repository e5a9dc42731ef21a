//! Why a request is refused whole.

use laneway_log::LogError;
use laneway_store::StoreError;
use laneway_tenancy::Limited;
use laneway_tenancy::quota::Exceeded;

use crate::refusal::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The credential may not send locations.
    #[error("the credential has no grant `location:write`")]
    MayNotWrite,
    /// The credential may not read sessions.
    #[error("the credential has no grant `positions:read`")]
    MayNotRead,
    /// A tenant is named that is not the credential's.
    #[error("the request names a tenant that its credentials do not belong to")]
    TenantMismatch { named: String },
    #[error("too many events")]
    RateLimited(Limited),
    #[error("a quota of the day is used up")]
    QuotaExceeded(Exceeded),
    /// The one thing that the request is about is wrong.
    #[error("{}", .0.detail)]
    Invalid(Refusal),
    #[error(transparent)]
    Log(LogError),
    #[error(transparent)]
    Store(StoreError),
    /// The store knows more of the tenant than this node has read.
    #[error("this node is behind the control changes of the tenant")]
    Behind,
    /// Nothing that the client did.
    #[error("a record could not be encoded: {0}")]
    Encoding(String),
}
