//! An open reader of one lane, and what it has read that was not encoded yet.

use laneway_log::{Batch, Log, LogError, Reader, Topic};
use laneway_schemas::Codecs;
use tokio::sync::OwnedSemaphorePermit;

use super::Lane;
use crate::event::{CHUNK_BYTES, Chunk, ChunkBuilder, Facts, Filter};

pub struct Source {
    lane: u32,
    next: u64,
    reader: Box<dyn Reader>,
    /// A batch, from which of its records on.
    rest: Option<(Batch, usize)>,
    _permit: OwnedSemaphorePermit,
}

impl Source {
    pub async fn open(
        log: &dyn Log,
        lane: u32,
        at: u64,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, LogError> {
        Ok(Source {
            lane,
            next: at,
            reader: log.reader(Topic::TenantStreams, vec![(lane, at)]).await?,
            rest: None,
            _permit: permit,
        })
    }

    pub fn is_at(&self, lane: u32, at: u64) -> bool {
        (self.lane, self.next) == (lane, at)
    }

    /// The next chunk, which may be empty.
    pub async fn chunk(
        &mut self,
        of: &Lane,
        filter: &Filter,
        codecs: &Codecs,
    ) -> Result<Chunk, LogError> {
        let (batch, mut index) = loop {
            if let Some(rest) = self.rest.take() {
                break rest;
            }
            let batch = self.reader.next().await?;
            if batch.next_offset() > self.next {
                break (batch, 0);
            }
        };
        let mut builder = ChunkBuilder::new(of.generation, self.lane, self.next, filter.complete());
        while let Some(record) = batch.get(index) {
            index += 1;
            if record.offset < self.next {
                continue;
            }
            // A lane is shared: the tenant is checked on every record.
            let facts = Facts::of(&record).filter(|f| f.tenant == of.tenant && filter.matches(f));
            let Some(facts) = facts else { continue };
            builder.push_loading(codecs, &facts, &record).await;
            if builder.bytes() >= CHUNK_BYTES {
                self.next = record.offset + 1;
                self.rest = Some((batch, index));
                return Ok(builder.build(self.next));
            }
        }
        self.next = batch.next_offset();
        Ok(builder.build(self.next))
    }
}
