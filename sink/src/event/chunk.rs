//! Events of one tenant and lane, encoded together: what the live tail hands to every
//! subscriber, and what a subscriber's own reading of the history gives.
//!
//! The bytes are websocket text frames one after the other (a server's frames are not masked,
//! so they are the same for every subscriber): all of a chunk goes out in one write. The
//! CloudEvent of an entry is a part of its frame, for the transports that frame it otherwise.

use bytes::Bytes;
use laneway_log::RecordRef;
use laneway_schemas::{Codecs, EventType};

use super::{EncodeError, Facts, TypeSet, encode_event, try_again};

/// A chunk is closed at this size, so that a queue's bound is kept to within one of them.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Final text frame, with a 16-bit length.
const HEADER: [u8; 4] = [0x81, 126, 0, 0];

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub offset: u64,
    pub event_type: EventType,
    frame: (u32, u32),
    event: (u32, u32),
    device: (u32, u32),
}

#[derive(Clone, Debug)]
pub struct Chunk {
    pub lane: u32,
    /// The chunk speaks for the offsets from here …
    pub from: u64,
    /// … to here, exclusive.
    pub next: u64,
    /// Of these types every event of the tenant is there.
    pub complete: TypeSet,
    /// Types that occur.
    types: TypeSet,
    data: Bytes,
    entries: Box<[Entry]>,
}

impl Chunk {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn types(&self) -> TypeSet {
        self.types
    }

    /// Bytes that it keeps in memory.
    pub fn weight(&self) -> usize {
        self.data.len() + self.entries.len() * size_of::<Entry>() + size_of::<Chunk>()
    }

    /// The frames of a run of entries.
    pub fn frames(&self, entries: std::ops::Range<usize>) -> Bytes {
        match self.entries.get(entries) {
            Some([first, .., last]) => self.slice((first.frame.0, last.frame.1)),
            Some([only]) => self.slice(only.frame),
            _ => Bytes::new(),
        }
    }

    /// The CloudEvent of an entry.
    pub fn event(&self, entry: &Entry) -> Bytes {
        self.slice(entry.event)
    }

    pub fn device(&self, entry: &Entry) -> &str {
        let (start, end) = entry.device;
        std::str::from_utf8(&self.data[start as usize..end as usize]).unwrap_or_default()
    }

    fn slice(&self, (start, end): (u32, u32)) -> Bytes {
        self.data.slice(start as usize..end as usize)
    }
}

pub struct ChunkBuilder {
    generation: u32,
    lane: u32,
    from: u64,
    complete: TypeSet,
    types: TypeSet,
    data: Vec<u8>,
    entries: Vec<Entry>,
}

impl ChunkBuilder {
    /// Everything of the types in `complete` will be pushed.
    pub fn new(generation: u32, lane: u32, from: u64, complete: TypeSet) -> Self {
        ChunkBuilder {
            generation,
            lane,
            from,
            complete,
            types: TypeSet::default(),
            data: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Adds a record; leaves the chunk as it was where that fails.
    fn push(
        &mut self,
        codecs: &Codecs,
        facts: &Facts<'_>,
        offset: u64,
        value: Option<&[u8]>,
    ) -> Result<(), EncodeError> {
        use std::io::Write;
        let start = self.data.len();
        self.data.extend_from_slice(&HEADER);
        // Writing to a Vec does not fail.
        let _ = write!(
            self.data,
            r#"{{"type":"event","position":[{},{},{offset}],"event":"#,
            self.generation, self.lane
        );
        let mut event_at = self.data.len();
        let mut device = match encode_event(codecs, facts, value, &mut self.data) {
            Ok(device) => device,
            Err(error) => {
                self.data.truncate(start);
                return Err(error);
            }
        };
        self.data.push(b'}');
        let payload = self.data.len() - start - HEADER.len();
        // An event is longer than the 125 bytes that a shorter header could tell.
        match u16::try_from(payload) {
            Ok(length) => self.data[start + 2..start + 4].copy_from_slice(&length.to_be_bytes()),
            Err(_) => {
                let length = (payload as u64).to_be_bytes();
                self.data[start + 1] = 127;
                self.data.splice(start + 2..start + 4, length);
                event_at += 6;
                device = (device.0 + 6, device.1 + 6);
            }
        }
        self.types = self.types.with(facts.event_type);
        let at = |n: usize| u32::try_from(n).expect("a chunk is far below 4 GiB");
        let end = self.data.len();
        self.entries.push(Entry {
            offset,
            event_type: facts.event_type,
            frame: (at(start), at(end)),
            event: (at(event_at), at(end - 1)),
            device,
        });
        Ok(())
    }

    /// The same, loading the record's schema where that is new. One that cannot be read is left
    /// out.
    pub async fn push_loading(
        &mut self,
        codecs: &Codecs,
        facts: &Facts<'_>,
        record: &RecordRef<'_>,
    ) {
        while let Err(error) = self.push(codecs, facts, record.offset, record.value) {
            if !try_again(codecs, facts, record.offset, &error).await {
                return;
            }
        }
    }

    pub fn build(self, next: u64) -> Chunk {
        let mut data = self.data;
        // Chunks wait in queues that are bounded by what they hold, not by what they reserved.
        data.shrink_to_fit();
        Chunk {
            lane: self.lane,
            from: self.from,
            next,
            complete: self.complete,
            types: self.types,
            data: Bytes::from(data),
            entries: self.entries.into_boxed_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use laneway_schemas::{MemoryRegistry, SessionStarted};
    use laneway_tenancy::TenantId;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

    use super::*;
    use crate::event::TenantKey;

    #[tokio::test]
    async fn a_chunk_is_whole_frames_short_and_long_and_holds_each_event() {
        let codecs = Codecs::new(Arc::new(MemoryRegistry::default()));
        codecs.register("").await.unwrap();
        let tenant = TenantId::from_u128(1);
        let facts = Facts {
            tenant: TenantKey::of(tenant),
            device: "d",
            event_type: EventType::SessionStarted,
            id: "e.1",
            source: "/laneway",
            time: None,
        };
        let mut builder = ChunkBuilder::new(1, 3, 10, TypeSet::ALL);
        for (offset, length) in [(10, 1), (11, 70_000), (12, 2)] {
            let event = SessionStarted {
                entity_id: "e".into(),
                revision: 1,
                tenant_id: tenant.to_string(),
                device_id: "d".into(),
                session_id: "s".into(),
                started_at: 0,
                received_at: 0,
                attributes: [("note".to_owned(), "x".repeat(length))].into(),
            };
            let mut value = Vec::new();
            codecs.encode(&event, &mut value).unwrap();
            builder.push(&codecs, &facts, offset, Some(&value)).unwrap();
        }
        assert!(builder.push(&codecs, &facts, 13, Some(b"damaged")).is_err());
        let chunk = builder.build(14);
        let wire = Cursor::new(chunk.frames(0..3).to_vec());
        let mut client = WebSocket::from_raw_socket(wire, Role::Client, None);
        for entry in chunk.entries() {
            let message: serde_json::Value =
                serde_json::from_str(client.read().unwrap().to_text().unwrap()).unwrap();
            assert_eq!(message["position"], serde_json::json!([1, 3, entry.offset]));
            let event: serde_json::Value = serde_json::from_slice(&chunk.event(entry)).unwrap();
            assert_eq!(message["event"], event);
            assert_eq!(chunk.device(entry), "d");
        }
        assert!(client.read().is_err(), "nothing is left");
    }
}
