//! The contracts: Avro schemas under `avro/`, the same as Rust types, and codecs between
//! them in Confluent wire format.

mod codec;
mod contract;
mod contracts;
pub mod headers;
mod registry;
mod rfc3339;
pub mod sink;

pub use codec::{Codecs, DecodeError, EncodeError};
pub use contract::{CONTRACTS, Contract, ContractInfo, EventType};
pub use contracts::*;
pub use registry::{
    Compatibility, ConfluentRegistry, MemoryRegistry, Referring, Registry, RegistryError, subject,
};
pub use rfc3339::Rfc3339;

/// Free attributes of a fix or a session.
pub type Attributes = std::collections::BTreeMap<String, String>;
