//! The API: tenants, devices, credentials, keys, destinations; what the projection knows; a
//! Confluent-compatible schema registry. Control changes go from the store's outbox to the log.

mod api;
mod bulk;
mod caller;
mod claims;
mod closing;
mod control;
mod creating;
mod deliveries;
mod erasing;
mod error;
mod hosts;
mod idempotency;
mod json;
mod lag;
mod late;
mod openapi;
mod platform;
mod quarantine;
mod rates;
mod registry;
mod relay;
mod requests;
mod rounds;
mod settings;
mod trail;
mod underway;
mod watching;

pub use control::{Backup, Control, ControlDeps};
pub use openapi::openapi_json;
pub use platform::{PLATFORM_SLUG, ensure_platform};
pub use settings::{ControlSettings, HostProofSettings};
