//! Where schemas get their ids: a Confluent-compatible registry, or the embedded one.

mod compatibility;
mod confluent;
mod memory;

pub use compatibility::{Compatibility, Referring};
pub use confluent::ConfluentRegistry;
pub use memory::MemoryRegistry;

use futures_util::future::BoxFuture;

#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error(
        "the registry refuses the schema of {subject}: {reason}. Readers of the older versions could not \
         read it, or they its records: give new fields defaults, or register it under a new name"
    )]
    Incompatible { subject: String, reason: String },
    #[error("the schema for {subject} is not valid Avro: {reason}")]
    Invalid { subject: String, reason: String },
    #[error("the registry knows no schema with id {id}")]
    UnknownId { id: u32 },
    #[error("the schema registry cannot be reached while {doing}: {reason}")]
    Unavailable { doing: String, reason: String },
}

/// Gives ids to schemas and schemas to ids. An id names the same schema for ever.
pub trait Registry: Send + Sync + 'static {
    /// The id of the schema under a subject; registers it when it is new and compatible.
    fn register<'a>(
        &'a self,
        subject: &'a str,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<u32, RegistryError>>;

    /// The schema of an id, as JSON.
    fn schema(&self, id: u32) -> BoxFuture<'_, Result<String, RegistryError>>;
}

/// The subject of a record in a topic, by TopicRecordNameStrategy.
pub fn subject(physical_topic: &str, record: &str) -> String {
    format!("{physical_topic}-{record}")
}
