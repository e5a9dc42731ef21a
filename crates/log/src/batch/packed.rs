//! The packed form of a batch (a *chunk*), as the embedded log stores it: a header, the
//! records' lengths, and all their bytes as they lie in the buffer, so that packing and
//! unpacking copy in bulk.
//!
//! Little-endian: version `u8`, 3 zero bytes, count `u32`, first offset `u64`, highest
//! timestamp `i64`, highest timestamp of the partition so far `i64`, data length `u32`, 4 zero
//! bytes, checksum `u64`; then per record offset − first `u32`, key, headers and value
//! lengths `u32` (value `u32::MAX`: tombstone), timestamp `i64`; then the data.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Batch, BatchBuilder, OutgoingMeta, Records, Spans, StoredMeta, slice};
use crate::Topic;

const VERSION: u8 = 1;
const CHECKSUM_AT: usize = 40;
const HEADER: usize = 48;
const META: usize = 24;
const TOMBSTONE: u32 = u32::MAX;

/// Why a chunk cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage(pub(crate) &'static str);

/// What a chunk's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkInfo {
    count: usize,
    pub(crate) first_offset: u64,
    pub(crate) max_timestamp: i64,
    /// Highest timestamp of the partition up to and with this chunk: never falls, so it can be
    /// searched by halving.
    pub(crate) running_max: i64,
    data_len: usize,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn checksum(chunk: &[u8]) -> u64 {
    xxh3_64_with_seed(&chunk[HEADER..], xxh3_64(&chunk[..CHECKSUM_AT]))
}

impl ChunkInfo {
    /// Reads the header alone; the checksum is not looked at.
    pub(crate) fn of(chunk: &[u8]) -> Result<Self, Damage> {
        if chunk.len() < HEADER {
            return Err(Damage("the chunk is shorter than its header"));
        }
        if chunk[0] != VERSION {
            return Err(Damage(
                "the chunk has a version that this program does not know",
            ));
        }
        Ok(ChunkInfo {
            count: u32_at(chunk, 4) as usize,
            first_offset: u64_at(chunk, 8),
            max_timestamp: i64_at(chunk, 16),
            running_max: i64_at(chunk, 24),
            data_len: u32_at(chunk, 32) as usize,
        })
    }
}

impl Spans {
    fn start(&self) -> u32 {
        self.key.0
    }

    fn end(&self) -> u32 {
        self.value.map_or(self.headers.1, |v| v.1)
    }

    fn moved(&self, from: u32, to: u32) -> Self {
        let shift = |(a, b): (u32, u32)| (a - from + to, b - from + to);
        Spans {
            key: shift(self.key),
            value: self.value.map(shift),
            headers: shift(self.headers),
        }
    }
}

impl Batch {
    pub(crate) fn packed_len(&self) -> usize {
        HEADER + self.records.len() * META + self.data.len()
    }

    pub(crate) fn max_timestamp(&self) -> i64 {
        self.records
            .iter()
            .map(|r| r.timestamp_ms)
            .max()
            .unwrap_or(i64::MIN)
    }

    /// The offset of the first record, or [`Batch::next_offset`] where there is none.
    pub(crate) fn first_offset(&self) -> u64 {
        self.records.first().map_or(self.next_offset, |r| r.offset)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn footprint(&self) -> usize {
        self.data.len() + self.records.len() * size_of::<StoredMeta>()
    }

    /// Writes the chunk into `out`, which is [`Batch::packed_len`] long. The batch must have
    /// come from a builder whose records were all kept.
    pub(crate) fn pack_into(&self, running_max: i64, out: &mut [u8]) {
        let first = self.first_offset();
        let small = |n: usize| {
            u32::try_from(n)
                .expect("a chunk is far below 4 GiB")
                .to_le_bytes()
        };
        out[..HEADER].fill(0);
        out[0] = VERSION;
        out[4..8].copy_from_slice(&small(self.records.len()));
        out[8..16].copy_from_slice(&first.to_le_bytes());
        out[16..24].copy_from_slice(&self.max_timestamp().to_le_bytes());
        out[24..32].copy_from_slice(&running_max.to_le_bytes());
        out[32..36].copy_from_slice(&small(self.data.len()));
        let (metas, data) = out[HEADER..].split_at_mut(self.records.len() * META);
        for (slot, record) in metas
            .as_chunks_mut::<META>()
            .0
            .iter_mut()
            .zip(self.records.iter())
        {
            let spans = &record.spans;
            let delta = u32::try_from(record.offset - first).expect("a chunk has fewer records");
            slot[..4].copy_from_slice(&delta.to_le_bytes());
            slot[4..8].copy_from_slice(&(spans.key.1 - spans.key.0).to_le_bytes());
            slot[8..12].copy_from_slice(&(spans.headers.1 - spans.headers.0).to_le_bytes());
            slot[12..16]
                .copy_from_slice(&spans.value.map_or(TOMBSTONE, |v| v.1 - v.0).to_le_bytes());
            slot[16..].copy_from_slice(&record.timestamp_ms.to_le_bytes());
        }
        data.copy_from_slice(&self.data);
        let sum = checksum(out);
        out[CHECKSUM_AT..HEADER].copy_from_slice(&sum.to_le_bytes());
    }

    /// The part of the batch at and after `offset`, sharing the buffer.
    pub(crate) fn part_from(&self, offset: u64) -> Batch {
        let skipped = self.records.partition_point(|r| r.offset < offset);
        if skipped == 0 {
            return self.clone();
        }
        let start = self
            .records
            .get(skipped)
            .map_or(self.data.len(), |r| r.spans.start() as usize);
        let from = u32::try_from(start).expect("a batch is far below 4 GiB");
        let records = self.records[skipped..]
            .iter()
            .map(|r| StoredMeta {
                spans: r.spans.moved(from, 0),
                ..*r
            })
            .collect();
        Batch {
            topic: self.topic,
            partition: self.partition,
            next_offset: self.next_offset,
            data: self.data.slice(start..),
            records: Arc::new(records),
        }
    }
}

impl BatchBuilder {
    /// Copies a record that is packed already.
    pub(crate) fn push_packed(&mut self, offset: u64, record: &RawRecord<'_>) {
        let to = u32::try_from(self.data.len()).expect("a batch is far below 4 GiB");
        self.data.extend_from_slice(record.data);
        let spans = record.spans.moved(record.spans.start(), to);
        self.records.push(StoredMeta {
            offset,
            timestamp_ms: record.timestamp_ms,
            spans,
        });
    }

    /// Adds the records of a chunk at and after `from`, having checked the checksum.
    pub(crate) fn push_chunk(&mut self, chunk: &[u8], from: u64) -> Result<ChunkInfo, Damage> {
        let info = ChunkInfo::of(chunk)?;
        if u64_at(chunk, CHECKSUM_AT) != checksum(chunk) {
            return Err(Damage("the checksum differs"));
        }
        let metas_len = info
            .count
            .checked_mul(META)
            .ok_or(Damage("the count is too large"))?;
        let (metas, data) = chunk[HEADER..]
            .split_at_checked(metas_len)
            .ok_or(Damage("the records are cut off"))?;
        if data.len() != info.data_len {
            return Err(Damage("the data is cut off"));
        }
        let base = self.data.len();
        let (mut at, mut skipped) = (0usize, 0usize);
        self.records.reserve(info.count);
        for meta in metas.as_chunks::<META>().0 {
            let offset = info.first_offset + u64::from(u32_at(meta, 0));
            let value_len = u32_at(meta, 12);
            let key_end = at + u32_at(meta, 4) as usize;
            let headers_end = key_end + u32_at(meta, 8) as usize;
            let end = headers_end
                + if value_len == TOMBSTONE {
                    0
                } else {
                    value_len as usize
                };
            if offset < from {
                skipped = end;
            } else {
                let place = |n: usize| {
                    u32::try_from(base + n - skipped).map_err(|_| Damage("the data is too large"))
                };
                let (start, key_end, headers_end) =
                    (place(at)?, place(key_end)?, place(headers_end)?);
                let value = (value_len != TOMBSTONE).then_some((headers_end, place(end)?));
                let spans = Spans {
                    key: (start, key_end),
                    headers: (key_end, headers_end),
                    value,
                };
                self.records.push(StoredMeta {
                    offset,
                    timestamp_ms: i64_at(meta, 16),
                    spans,
                });
            }
            at = end;
        }
        if at != data.len() {
            return Err(Damage("the records' lengths do not add up"));
        }
        self.data.extend_from_slice(&data[skipped..]);
        Ok(info)
    }
}

/// A record of [`Records`] with its bytes as they lie there.
pub(crate) struct RawRecord<'a> {
    pub(crate) topic: Topic,
    pub(crate) partition: u32,
    pub(crate) timestamp_ms: i64,
    data: &'a [u8],
    spans: &'a Spans,
}

impl<'a> RawRecord<'a> {
    /// Bytes of key, value and headers.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn key(&self) -> &'a [u8] {
        &self.data[..(self.spans.key.1 - self.spans.key.0) as usize]
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.spans.value.is_none()
    }
}

impl Records {
    pub(crate) fn raw(&self) -> impl Iterator<Item = RawRecord<'_>> {
        self.records.iter().map(
            |OutgoingMeta {
                 topic,
                 partition,
                 timestamp_ms,
                 spans,
             }| RawRecord {
                topic: *topic,
                partition: *partition,
                timestamp_ms: *timestamp_ms,
                data: slice(&self.data, (spans.start(), spans.end())),
                spans,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Batch {
        let mut records = Records::new();
        let id: &[u8] = b"1";
        records.push(
            Topic::TenantStreams,
            3,
            7,
            b"k0",
            [("id", id), ("empty", &[])],
            b"first",
        );
        records.push_tombstone(Topic::TenantStreams, 3, 9, b"k1");
        records.push(Topic::TenantStreams, 3, 8, b"", [], b"");
        let mut builder = BatchBuilder::new(Topic::TenantStreams, 3);
        for (offset, record) in (40..).zip(records.raw()) {
            builder.push_packed(offset, &record);
        }
        builder.build(43)
    }

    fn packed(batch: &Batch) -> Vec<u8> {
        let mut chunk = vec![0xff; batch.packed_len()];
        batch.pack_into(99, &mut chunk);
        chunk
    }

    fn unpacked(chunk: &[u8], from: u64) -> Batch {
        let mut builder = BatchBuilder::new(Topic::TenantStreams, 3);
        builder.push_chunk(chunk, from).expect("the chunk is whole");
        builder.build(43)
    }

    fn shown(batch: &Batch) -> String {
        format!("{:?}", batch.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_chunk_gives_back_its_records_from_any_offset() {
        let batch = sample();
        let chunk = packed(&batch);
        let info = ChunkInfo::of(&chunk).expect("the header is whole");
        assert_eq!(
            (info.first_offset, info.max_timestamp, info.running_max),
            (40, 9, 99)
        );
        for from in 39..=43 {
            let part = unpacked(&chunk, from);
            assert_eq!(shown(&part), shown(&batch.part_from(from)));
            assert_eq!(part.bytes(), batch.part_from(from).bytes());
        }
        assert_eq!(shown(&unpacked(&chunk, 0)), shown(&batch));
    }

    #[test]
    fn any_flipped_byte_is_noticed() {
        let chunk = packed(&sample());
        for at in 0..chunk.len() {
            let mut damaged = chunk.clone();
            damaged[at] ^= 0x10;
            let mut builder = BatchBuilder::new(Topic::TenantStreams, 3);
            assert!(builder.push_chunk(&damaged, 0).is_err(), "byte {at}");
        }
        for len in 0..chunk.len() {
            let mut builder = BatchBuilder::new(Topic::TenantStreams, 3);
            assert!(
                builder.push_chunk(&chunk[..len], 0).is_err(),
                "cut at {len}"
            );
        }
    }
}
