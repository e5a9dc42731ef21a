//! A record of `tenant-streams` as its receivers see it: one CloudEvent in JSON, encoded once
//! for all of them.

mod chunk;
mod data;
mod encode;
mod facts;
mod filter;
mod time;

pub use chunk::{CHUNK_BYTES, Chunk, ChunkBuilder, Entry};
pub use data::PositionData;
pub use encode::{EncodeError, encode_event, try_again};
pub use facts::{Facts, TenantKey, split_key};
pub use filter::{Filter, TypeSet};
pub use time::Time;
