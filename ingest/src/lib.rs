//! The role that turns what devices send into records of the log.
//!
//! [`transport`] turns bytes into (who, batch) and outcomes into answers, and nothing else;
//! [`accept`] limits, validates, places, encodes and appends, and knows of no transport.

pub mod accept;
mod ingest;
mod quotas;
mod rates;
pub mod refusal;
mod settings;
pub mod transport;
pub mod wire;

pub use ingest::{Ingest, IngestDeps};
pub use settings::IngestSettings;
