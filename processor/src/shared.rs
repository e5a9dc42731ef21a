//! What deriving needs besides the state: contracts, control changes, bounds, and buffers that
//! are kept.

use std::sync::Arc;

use foldhash::HashSet;
use laneway_directory::Directory;
use laneway_schemas::{Codecs, Contract, DecodeError};
use laneway_tenancy::control::RoleAuthority;
use serde::Deserialize;

use crate::derive::Bounds;
use crate::emit::Emitter;
use crate::isolate::{Reason, Refusal};
use crate::metrics::Counts;

/// Ids of schemas that the registry does not have, at most.
const MAX_UNREADABLE: usize = 4096;

pub struct Shared {
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub authority: RoleAuthority,
    pub bounds: Bounds,
    pub idle_close_us: i64,
    pub max_record_bytes: usize,
    pub emitter: Emitter,
    pub scratch: Vec<u8>,
    pub counts: Counts,
    unreadable: HashSet<u32>,
}

/// Why a payload has not been decoded.
pub enum Undecoded {
    Refused(Refusal),
    /// Its schema has to be loaded first.
    Load(u32),
}

impl Shared {
    pub fn new(
        codecs: Arc<Codecs>,
        directory: Arc<Directory>,
        bounds: Bounds,
        idle_close_us: i64,
        max_record_bytes: usize,
    ) -> Self {
        Shared {
            codecs,
            directory,
            authority: RoleAuthority::for_role("processor"),
            bounds,
            idle_close_us,
            max_record_bytes,
            emitter: Emitter::default(),
            scratch: Vec::new(),
            counts: Counts::default(),
            unreadable: HashSet::default(),
        }
    }

    /// Remembers that a schema cannot be had: its records are undecodable.
    pub fn unreadable(&mut self, schema: u32) {
        if self.unreadable.len() >= MAX_UNREADABLE {
            self.unreadable.clear();
        }
        self.unreadable.insert(schema);
    }

    pub fn decode<'a, T: Contract, V: Deserialize<'a>>(
        &self,
        value: Option<&'a [u8]>,
    ) -> Result<V, Undecoded> {
        let refused =
            |detail: String| Undecoded::Refused(Refusal::new(Reason::Undecodable, detail));
        let Some(value) = value else {
            return Err(refused("the record has no value".into()));
        };
        self.codecs
            .decode_as::<T, V>(value)
            .map_err(|error| match error {
                DecodeError::UnknownSchema(id) if !self.unreadable.contains(&id) => {
                    Undecoded::Load(id)
                }
                error => refused(error.to_string()),
            })
    }
}
