//! Between Rust types and Avro in Confluent wire format: a zero byte, the schema's id (4 bytes,
//! big-endian), the datum. Codecs are built once per schema id.
//!
//! `apache-avro` holds the schemas and judges them. What other schemas wrote, `serde_avro_fast`
//! reads by them; what this version's own schemas write and have written goes the short way of
//! [`write`] and [`read`]. Builds with assertions hold every record that is written against what
//! `serde_avro_fast` writes.

mod read;
mod write;

use std::io::Read;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use foldhash::{HashMap, HashMapExt};
use serde::{Deserialize, Serialize};
use serde_avro_fast::Schema;
use serde_avro_fast::de::read::SliceRead;
use serde_avro_fast::de::{DeserializerConfig, DeserializerState};
use serde_avro_fast::ser::SerializerConfig;

use crate::contract::{CONTRACTS, Contract};
use crate::registry::{Registry, RegistryError, subject};

/// No record has as many: bounds what a damaged count can make the decoder do.
const MAX_ITEMS: usize = 1 << 20;
const HEADER: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("{contract} has not been registered; writers register at start")]
    NotRegistered { contract: &'static str },
    #[error("a {contract} does not fit its schema: {reason}")]
    Unfit {
        contract: &'static str,
        reason: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not in Confluent wire format: {bytes} bytes, first {first:?}")]
    Format { bytes: usize, first: Option<u8> },
    /// [`Codecs::load`] the id, then decode again.
    #[error("schema {0} has not been loaded")]
    UnknownSchema(u32),
    #[error("a {expected} was expected, but schema {id} is of a {found}")]
    OtherRecord {
        expected: &'static str,
        found: String,
        id: u32,
    },
    #[error("a {expected} written with schema {id} cannot be read: {reason}")]
    Damaged {
        expected: &'static str,
        id: u32,
        reason: String,
    },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl DecodeError {
    /// Whether the record itself is at fault, rather than the way to its schema.
    pub fn is_fault_of_record(&self) -> bool {
        !matches!(
            self,
            DecodeError::UnknownSchema(_)
                | DecodeError::Registry(RegistryError::Unavailable { .. })
        )
    }
}

struct Writer {
    header: [u8; HEADER],
    layout: read::Layout,
    schema: Arc<Schema>,
}

struct Reader {
    record: String,
    schema: Arc<Schema>,
}

/// Encodes and decodes every contract. Shared by the tasks of a process.
pub struct Codecs {
    registry: Arc<dyn Registry>,
    writers: Vec<OnceLock<Writer>>,
    readers: ArcSwap<HashMap<u32, Arc<Reader>>>,
}

impl Codecs {
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Codecs {
            registry,
            writers: CONTRACTS.iter().map(|_| OnceLock::new()).collect(),
            readers: ArcSwap::from_pointee(HashMap::new()),
        }
    }

    /// Registers every contract under its subject. `topic_prefix` is put before topic names.
    pub async fn register(&self, topic_prefix: &str) -> Result<(), RegistryError> {
        for (slot, contract) in CONTRACTS.iter().enumerate() {
            let subject = subject(&format!("{topic_prefix}{}", contract.topic), contract.name);
            let id = self.registry.register(&subject, contract.schema).await?;
            let Parsed {
                record,
                fields,
                schema,
            } = parse(&subject, contract.schema)?;
            let mut header = [0; HEADER];
            header[1..].copy_from_slice(&id.to_be_bytes());
            let writer = Writer {
                header,
                layout: read::Layout::new(fields),
                schema: Arc::clone(&schema),
            };
            // Set already where registering is repeated: the schema is a constant, so is its id.
            let _ = self.writers[slot].set(writer);
            self.insert_reader(id, Reader { record, schema });
        }
        Ok(())
    }

    /// Appends the record in wire format.
    pub fn encode<T: Contract>(&self, value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_as::<T, T>(value, out)
    }

    /// The same from a type that serialises alike, one that borrows for instance: the same fields
    /// in the same order, whatever its name.
    pub fn encode_as<T: Contract, V: Serialize>(
        &self,
        value: &V,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let writer = self.writers[T::SLOT]
            .get()
            .ok_or(EncodeError::NotRegistered { contract: T::NAME })?;
        let start = out.len();
        out.extend_from_slice(&writer.header);
        match value.serialize(write::Datum(out)) {
            Ok(()) => {
                debug_assert_eq!(
                    looked_up(&writer.schema, value).as_deref(),
                    Ok(&out[start + HEADER..]),
                    "the type of a {} has the fields of its schema, in its order",
                    T::NAME
                );
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(EncodeError::Unfit {
                    contract: T::NAME,
                    reason: error.to_string(),
                })
            }
        }
    }

    /// Decodes a record whose schema has been loaded.
    pub fn decode<T: Contract>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        self.decode_as::<T, T>(bytes)
    }

    /// The same into a type that reads alike, one that borrows from the bytes for instance.
    pub fn decode_as<'a, T: Contract, V: Deserialize<'a>>(
        &self,
        bytes: &'a [u8],
    ) -> Result<V, DecodeError> {
        let (id, datum) = split(bytes)?;
        let damaged = |reason: String| DecodeError::Damaged {
            expected: T::NAME,
            id,
            reason,
        };
        const LEFT_OVER: &str = "bytes are left over";
        if let Some(writer) = self.writers[T::SLOT].get()
            && bytes.starts_with(&writer.header)
        {
            let mut data = read::Datum::new(datum, &writer.layout);
            match V::deserialize(&mut data) {
                Ok(value) if data.is_done() => return Ok(value),
                Ok(_) => return Err(damaged(LEFT_OVER.into())),
                Err(read::Fault::OtherFields) => {}
                Err(fault) => return Err(damaged(fault.to_string())),
            }
        }
        let readers = self.readers.load();
        let reader = readers.get(&id).ok_or(DecodeError::UnknownSchema(id))?;
        if reader.record != T::NAME {
            return Err(DecodeError::OtherRecord {
                expected: T::NAME,
                found: reader.record.clone(),
                id,
            });
        }
        let mut config = DeserializerConfig::new(&reader.schema);
        config.max_seq_size = MAX_ITEMS;
        let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
        let value = V::deserialize(state.deserializer()).map_err(|e| damaged(e.to_string()))?;
        match state.into_reader().read(&mut [0]) {
            Ok(0) => Ok(value),
            _ => Err(damaged(LEFT_OVER.into())),
        }
    }

    /// Decodes a record, asking the registry for its schema where that is new.
    pub async fn decode_loading<T: Contract>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        self.decode_as_loading::<T, T>(bytes).await
    }

    /// The same into a type that reads alike.
    pub async fn decode_as_loading<'a, T: Contract, V: Deserialize<'a>>(
        &self,
        bytes: &'a [u8],
    ) -> Result<V, DecodeError> {
        match self.decode_as::<T, V>(bytes) {
            Err(DecodeError::UnknownSchema(id)) => {
                self.load(id).await?;
                self.decode_as::<T, V>(bytes)
            }
            result => result,
        }
    }

    /// Loads a schema that records were written with.
    pub async fn load(&self, id: u32) -> Result<(), RegistryError> {
        if self.readers.load().contains_key(&id) {
            return Ok(());
        }
        let text = self.registry.schema(id).await?;
        let Parsed { record, schema, .. } = parse(&format!("schema {id}"), &text)?;
        self.insert_reader(id, Reader { record, schema });
        Ok(())
    }

    /// Full name of the record that the bytes hold, where its schema has been loaded.
    pub fn record_name(&self, bytes: &[u8]) -> Result<String, DecodeError> {
        let (id, _) = split(bytes)?;
        self.readers
            .load()
            .get(&id)
            .map(|r| r.record.clone())
            .ok_or(DecodeError::UnknownSchema(id))
    }

    fn insert_reader(&self, id: u32, reader: Reader) {
        let reader = Arc::new(reader);
        self.readers.rcu(|readers| {
            let mut readers = HashMap::clone(readers);
            readers.insert(id, Arc::clone(&reader));
            readers
        });
    }
}

/// A schema, the full name of the record that it is of, and the names of its fields.
struct Parsed {
    record: String,
    fields: Vec<String>,
    schema: Arc<Schema>,
}

fn parse(subject: &str, text: &str) -> Result<Parsed, RegistryError> {
    let invalid = |reason: String| RegistryError::Invalid {
        subject: subject.to_owned(),
        reason,
    };
    let schema = apache_avro::Schema::parse_str(text).map_err(|e| invalid(e.to_string()))?;
    let apache_avro::Schema::Record(record) = schema else {
        return Err(invalid("it is not a record".into()));
    };
    let schema = text.parse::<Schema>().map_err(|e| invalid(e.to_string()))?;
    Ok(Parsed {
        record: record.name.to_string(),
        fields: record.fields.into_iter().map(|field| field.name).collect(),
        schema: Arc::new(schema),
    })
}

/// The datum as `serde_avro_fast` writes it, which looks every field up.
fn looked_up<V: Serialize>(schema: &Schema, value: &V) -> Result<Vec<u8>, String> {
    serde_avro_fast::to_datum_vec(value, &mut SerializerConfig::new(schema))
        .map_err(|error| error.to_string())
}

fn split(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => Err(DecodeError::Format {
            bytes: bytes.len(),
            first: bytes.first().copied(),
        }),
    }
}
