//! What is said of a tenant as a whole: events that no device is behind, under the key
//! `tenant id/~`. Among them the operator's notices, in the namespace `runtime`, which every
//! tenant may subscribe to and only the platform writes.
//!
//! Invariant: a notice names no tenant and nothing of one. All tenants read it.

mod announcer;
mod notice;
mod whole;

pub use announcer::{Announcer, AnnouncerDeps, NoticeError, Said};
pub use notice::{Kind, Saying, Severity};
pub use whole::{WHOLE_TENANT, WholeTenantEvent};

/// The slug of the operator's own stream.
pub const RUNTIME_SLUG: &str = "runtime";
