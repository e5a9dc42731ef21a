//! A partition as the writer sees it: what is committed, and what the open transaction adds.

use redb::Table;

use super::retention::TOMBSTONES_KEPT_MS;
use super::store::{CHUNKS, KEYS, OFFSETS, PARTITIONS, Row, TOMBSTONES, chunk_key, lane_key};
use crate::batch::RawRecord;
use crate::{Batch, BatchBuilder, Topic};

/// Above this many bytes a chunk is closed. Chunks keep the tree small, and each must be read
/// as a whole.
const CHUNK_BYTES: usize = 256 << 10;

/// The tables of a write transaction.
pub(super) struct Tables<'tx> {
    pub(super) chunks: Table<'tx, [u8; 13], &'static [u8]>,
    pub(super) keys: Table<'tx, &'static [u8], u64>,
    pub(super) tombstones: Table<'tx, [u8; 21], ()>,
    pub(super) partitions: Table<'tx, [u8; 5], [u8; 32]>,
    pub(super) offsets: Table<'tx, (&'static str, u8, u32), u64>,
}

impl<'tx> Tables<'tx> {
    pub(super) fn open(tx: &'tx redb::WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Tables {
            chunks: tx.open_table(CHUNKS)?,
            keys: tx.open_table(KEYS)?,
            tombstones: tx.open_table(TOMBSTONES)?,
            partitions: tx.open_table(PARTITIONS)?,
            offsets: tx.open_table(OFFSETS)?,
        })
    }
}

pub(super) struct Lane {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    committed: Row,
    pub(super) staged: Row,
    open: BatchBuilder,
    /// Not yet seen by readers. Empty where the topic is compacted.
    fresh: Vec<Batch>,
}

impl Lane {
    pub(super) fn new(topic: Topic, partition: u32, row: Row) -> Self {
        let open = BatchBuilder::new(topic, partition);
        Lane {
            topic,
            partition,
            committed: row,
            staged: row,
            open,
            fresh: Vec::new(),
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.staged != self.committed
    }

    /// Adds a record to the open transaction. Returns whether a chunk was stored.
    pub(super) fn add(
        &mut self,
        tables: &mut Tables<'_>,
        record: &RawRecord<'_>,
    ) -> Result<bool, redb::Error> {
        let offset = self.staged.end;
        self.staged.end += 1;
        self.staged.running_max = self.staged.running_max.max(record.timestamp_ms);
        self.open.push_packed(offset, record);
        if self.topic.compacted() {
            self.replace(tables, record, offset)?;
            return self.cut(tables);
        }
        if self.open.bytes() >= CHUNK_BYTES {
            self.cut(tables)
        } else {
            Ok(false)
        }
    }

    /// Stores the open chunk, if there is one.
    pub(super) fn cut(&mut self, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
        if self.open.is_empty() {
            return Ok(false);
        }
        let fresh = BatchBuilder::new(self.topic, self.partition);
        let batch = std::mem::replace(&mut self.open, fresh).build(self.staged.end);
        let key = chunk_key(self.topic, self.partition, self.staged.end - 1);
        let len = batch.packed_len();
        let mut slot = tables.chunks.insert_reserve(key, len)?;
        batch.pack_into(self.staged.running_max, slot.as_mut());
        self.staged.bytes += len as u64;
        if !self.topic.compacted() {
            self.fresh.push(batch);
        }
        Ok(true)
    }

    /// Removes the older record of the same key: compaction is never behind.
    fn replace(
        &mut self,
        tables: &mut Tables<'_>,
        record: &RawRecord<'_>,
        offset: u64,
    ) -> Result<(), redb::Error> {
        let mut key = lane_key(self.topic, self.partition).to_vec();
        key.extend_from_slice(record.key());
        let old = tables
            .keys
            .insert(key.as_slice(), offset)?
            .map(|old| old.value());
        if let Some(old) = old {
            self.remove(tables, old)?;
        }
        if record.is_tombstone() {
            let due = record
                .timestamp_ms
                .saturating_add(TOMBSTONES_KEPT_MS)
                .max(0)
                .cast_unsigned();
            let mut entry = [0; 21];
            entry[..8].copy_from_slice(&due.to_be_bytes());
            entry[8..].copy_from_slice(&chunk_key(self.topic, self.partition, offset));
            tables.tombstones.insert(entry, ())?;
        }
        Ok(())
    }

    /// Removes the chunk that ends at `last`, if it is there.
    pub(super) fn remove(
        &mut self,
        tables: &mut Tables<'_>,
        last: u64,
    ) -> Result<bool, redb::Error> {
        let removed = tables
            .chunks
            .remove(chunk_key(self.topic, self.partition, last))?;
        let Some(chunk) = removed else {
            return Ok(false);
        };
        self.staged.bytes = self.staged.bytes.saturating_sub(chunk.value().len() as u64);
        Ok(true)
    }

    /// Stores the new bounds.
    pub(super) fn store(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        tables
            .partitions
            .insert(lane_key(self.topic, self.partition), self.staged.pack())?;
        Ok(())
    }

    /// The transaction is durable: what readers may see now.
    pub(super) fn publish(&mut self) -> (Row, impl Iterator<Item = Batch> + '_) {
        self.committed = self.staged;
        (self.committed, self.fresh.drain(..))
    }

    /// The transaction is gone.
    pub(super) fn roll_back(&mut self) {
        self.staged = self.committed;
        self.open = BatchBuilder::new(self.topic, self.partition);
        self.fresh.clear();
    }
}
