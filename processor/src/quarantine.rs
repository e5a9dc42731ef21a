//! What is refused, whole, to where an operator finds it and can redrive it.

use laneway_log::{RecordRef, Records, Topic};
use laneway_schemas::{Codecs, EncodeError, Quarantined};

use crate::isolate::Refusal;

/// Room for everything of a quarantined record but its key, value and headers.
const OVERHEAD_BYTES: usize = 2048;

/// Adds the refused record to the unit, in its own partition and under its own key.
pub fn push(
    input: (Topic, u32),
    record: &RecordRef<'_>,
    refusal: &Refusal,
    received_at: Option<i64>,
    (codecs, max_bytes): (&Codecs, usize),
    records: &mut Records,
) -> Result<(), EncodeError> {
    let (topic, partition) = input;
    let headers: std::collections::BTreeMap<_, _> = record
        .headers
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_vec().into()))
        .collect();
    let mut detail = refusal.detail.clone();
    let mut value = record.value.map(|v| v.to_vec().into());
    // The key counts twice: as the record's and in its value.
    let size =
        2 * record.key.len() + record.headers.packed().len() + record.value.map_or(0, <[u8]>::len);
    if size + OVERHEAD_BYTES > max_bytes {
        value = None;
        detail.push_str("; its value is too large to be repeated here: read it where it came from");
    }
    let refused_at = received_at.unwrap_or(record.timestamp_ms.saturating_mul(1000));
    let quarantined = Quarantined {
        reason: refusal.reason.code().to_owned(),
        detail,
        topic: topic.name().to_owned(),
        partition: i32::try_from(partition).unwrap_or(i32::MAX),
        offset: i64::try_from(record.offset).unwrap_or(i64::MAX),
        refused_at,
        key: record.key.to_vec().into(),
        value,
        headers,
    };
    let mut encoded = Ok(());
    let headers: [(&str, &[u8]); 1] = [("content-type", b"application/avro")];
    records.push_with(
        Topic::Quarantine,
        partition,
        refused_at / 1000,
        record.key,
        headers,
        |out| {
            encoded = codecs.encode(&quarantined, out);
        },
    );
    encoded
}
