//! Records in bulk. Both directions keep many records in one buffer, so that no record
//! costs an allocation of its own.

mod packed;

use std::sync::Arc;

use bytes::Bytes;

use crate::Topic;

pub(crate) use packed::{ChunkInfo, Damage, RawRecord};

/// Where a record's parts lie in the buffer.
#[derive(Clone, Copy, Debug)]
struct Spans {
    key: (u32, u32),
    /// `None` is a tombstone.
    value: Option<(u32, u32)>,
    headers: (u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct StoredMeta {
    offset: u64,
    timestamp_ms: i64,
    spans: Spans,
}

#[derive(Clone, Copy, Debug)]
struct OutgoingMeta {
    topic: Topic,
    partition: u32,
    timestamp_ms: i64,
    spans: Spans,
}

/// Headers of a record, packed: `u16` name length, name, `u32` value length, value, repeated.
#[derive(Clone, Copy)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Headers that were packed before (by [`Records`] or [`BatchBuilder`]).
    pub fn from_packed(packed: &'a [u8]) -> Self {
        Headers(packed)
    }

    pub fn packed(&self) -> &'a [u8] {
        self.0
    }

    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Ends early where the packing is damaged.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, after) = take(rest, 2)?;
            let (value, after) = take(after, 4)?;
            rest = after;
            Some((std::str::from_utf8(name).ok()?, value))
        })
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(n, v)| (n, String::from_utf8_lossy(v))))
            .finish()
    }
}

/// A length of `width` little-endian bytes, then as many bytes, then the rest.
fn take(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_at_checked(width)?;
    let len = len
        .iter()
        .rev()
        .fold(0usize, |acc, b| (acc << 8) | usize::from(*b));
    rest.split_at_checked(len)
}

fn put_header(buf: &mut Vec<u8>, name: &str, value: &[u8]) {
    // Ours are short constants. Of a record that a stranger wrote, this one is left out.
    let Ok(name_len) = u16::try_from(name.len()) else {
        return;
    };
    let value_len = u32::try_from(value.len()).expect("a record is far below 4 GiB");
    buf.extend_from_slice(&name_len.to_le_bytes());
    buf.extend_from_slice(name.as_bytes());
    buf.extend_from_slice(&value_len.to_le_bytes());
    buf.extend_from_slice(value);
}

fn span(start: usize, end: usize) -> (u32, u32) {
    let at = |n| u32::try_from(n).expect("a batch is far below 4 GiB");
    (at(start), at(end))
}

fn slice(data: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &data[start as usize..end as usize]
}

/// One record, as read.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub offset: u64,
    /// When it was appended, as its writer said, in milliseconds since 1970.
    pub timestamp_ms: i64,
    pub key: &'a [u8],
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Records of one partition, in offset order. Cloning shares the buffer.
///
/// A batch may be empty: it then says that everything below [`Batch::next_offset`] has been
/// passed (transaction markers, compacted records).
#[derive(Clone)]
pub struct Batch {
    topic: Topic,
    partition: u32,
    next_offset: u64,
    data: Bytes,
    records: Arc<Vec<StoredMeta>>,
}

impl Batch {
    pub fn topic(&self) -> Topic {
        self.topic
    }

    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Where reading goes on after this batch.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        self.records.get(index).map(|meta| self.record(meta))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> + '_ {
        self.records.iter().map(|meta| self.record(meta))
    }

    fn record(&self, meta: &StoredMeta) -> RecordRef<'_> {
        RecordRef {
            offset: meta.offset,
            timestamp_ms: meta.timestamp_ms,
            key: slice(&self.data, meta.spans.key),
            value: meta.spans.value.map(|v| slice(&self.data, v)),
            headers: Headers(slice(&self.data, meta.spans.headers)),
        }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}[{}] {} records, next {}",
            self.topic,
            self.partition,
            self.len(),
            self.next_offset
        )
    }
}

/// Fills a [`Batch`]; backends use it.
pub struct BatchBuilder {
    topic: Topic,
    partition: u32,
    data: Vec<u8>,
    records: Vec<StoredMeta>,
}

impl BatchBuilder {
    pub fn new(topic: Topic, partition: u32) -> Self {
        Self::with_capacity(topic, partition, 0, 0)
    }

    pub fn with_capacity(topic: Topic, partition: u32, records: usize, bytes: usize) -> Self {
        BatchBuilder {
            topic,
            partition,
            data: Vec::with_capacity(bytes),
            records: Vec::with_capacity(records),
        }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn push<'h>(
        &mut self,
        offset: u64,
        timestamp_ms: i64,
        key: &[u8],
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) {
        let spans = pack(
            &mut self.data,
            key,
            headers,
            value.map(|v| |buf: &mut Vec<u8>| buf.extend_from_slice(v)),
        );
        self.records.push(StoredMeta {
            offset,
            timestamp_ms,
            spans,
        });
    }

    /// The batch; reading goes on at `next_offset`.
    pub fn build(self, next_offset: u64) -> Batch {
        Batch {
            topic: self.topic,
            partition: self.partition,
            next_offset,
            data: Bytes::from(self.data),
            records: Arc::new(self.records),
        }
    }
}

fn pack<'h>(
    data: &mut Vec<u8>,
    key: &[u8],
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    value: Option<impl FnOnce(&mut Vec<u8>)>,
) -> Spans {
    let start = data.len();
    data.extend_from_slice(key);
    let headers_at = data.len();
    for (name, value) in headers {
        put_header(data, name, value);
    }
    let value_at = data.len();
    let value = value.map(|write| {
        write(data);
        span(value_at, data.len())
    });
    Spans {
        key: span(start, headers_at),
        value,
        headers: span(headers_at, value_at),
    }
}

/// Records to append, for any topics and partitions, in one buffer. The caller chooses the
/// partition: placement is the tenancy crate's, not the log's.
#[derive(Default, Debug)]
pub struct Records {
    data: Vec<u8>,
    records: Vec<OutgoingMeta>,
}

/// A record of [`Records`].
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRef<'a> {
    pub topic: Topic,
    pub partition: u32,
    pub timestamp_ms: i64,
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl Records {
    pub fn new() -> Self {
        Records::default()
    }

    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Records {
            data: Vec::with_capacity(bytes),
            records: Vec::with_capacity(records),
        }
    }

    /// Adds a record whose value `write` appends to the buffer it is given (and only appends).
    pub fn push_with<'h>(
        &mut self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
        key: &[u8],
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let spans = pack(&mut self.data, key, headers, Some(write));
        self.records.push(OutgoingMeta {
            topic,
            partition,
            timestamp_ms,
            spans,
        });
    }

    pub fn push<'h>(
        &mut self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
        key: &[u8],
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        value: &[u8],
    ) {
        self.push_with(topic, partition, timestamp_ms, key, headers, |buf| {
            buf.extend_from_slice(value)
        });
    }

    /// Adds a tombstone: on a compacted topic it deletes the key.
    pub fn push_tombstone(&mut self, topic: Topic, partition: u32, timestamp_ms: i64, key: &[u8]) {
        self.push_tombstone_with(topic, partition, timestamp_ms, key, []);
    }

    /// A tombstone that says something in its headers.
    pub fn push_tombstone_with<'h>(
        &mut self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
        key: &[u8],
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) {
        let none: Option<fn(&mut Vec<u8>)> = None;
        let spans = pack(&mut self.data, key, headers, none);
        self.records.push(OutgoingMeta {
            topic,
            partition,
            timestamp_ms,
            spans,
        });
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.records.clear();
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = OutgoingRef<'_>> + '_ {
        self.records.iter().map(|meta| OutgoingRef {
            topic: meta.topic,
            partition: meta.partition,
            timestamp_ms: meta.timestamp_ms,
            key: slice(&self.data, meta.spans.key),
            value: meta.spans.value.map(|v| slice(&self.data, v)),
            headers: Headers(slice(&self.data, meta.spans.headers)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_key_value_headers_and_tombstones_apart() {
        let mut records = Records::new();
        let id: &[u8] = b"1";
        records.push(
            Topic::TenantStreams,
            3,
            7,
            b"k",
            [("ce_id", id), ("empty", &[])],
            b"value",
        );
        records.push_tombstone(Topic::ProcessorState, 3, 8, b"gone");
        let all: Vec<_> = records.iter().collect();
        assert_eq!(all[0].key, b"k");
        assert_eq!(all[0].value, Some(&b"value"[..]));
        assert_eq!(all[0].headers.get_str("ce_id"), Some("1"));
        assert_eq!(all[0].headers.get("empty"), Some(&[][..]));
        assert_eq!(all[0].headers.get("none"), None);
        assert_eq!(all[1].value, None);
        assert_eq!(all[1].headers.iter().count(), 0);
    }

    #[test]
    fn a_header_with_a_name_beyond_all_measure_is_left_out() {
        let mut records = Records::new();
        let (name, value): (_, &[u8]) = ("x".repeat(70_000), b"1");
        let headers = [(name.as_str(), value), ("ce_id", value)];
        records.push(Topic::TenantStreams, 3, 7, b"k", headers, b"value");
        let record = records.iter().next().unwrap();
        assert_eq!(record.headers.iter().count(), 1);
        assert_eq!(record.headers.get_str("ce_id"), Some("1"));
    }
}
