//! The processor: isolates, deduplicates, orders and derives, exactly once, from
//! `location-updates` and `session-events` to `tenant-streams`.
//!
//! The way of a record: [`run`] takes batches from the group's member, [`partition`] judges
//! each record again ([`isolate`]) and gives it to its device ([`derive`]), whose events
//! [`emit`] writes into the open [`unit`]; what is refused goes to [`quarantine`]. At the end
//! of a unit the windows and sessions that it changed are said, and the state of its devices
//! written, all in the one unit. [`restore`] reads the state back after an assignment.

pub mod derive;
pub mod devices;
mod emit;
mod event_id;
mod health;
mod isolate;
mod metrics;
mod partition;
mod processor;
mod quarantine;
mod restore;
mod run;
mod settings;
mod shared;
mod tenants;
mod unit;
mod views;
mod waits;
mod work;

pub use health::Health;
pub use processor::{GROUP, Processor, ProcessorDeps, TOPICS};
pub use settings::ProcessorSettings;
