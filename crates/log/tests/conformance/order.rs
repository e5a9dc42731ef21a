//! Order, and records that come back as they were written.

use std::sync::Arc;

use laneway_log::{Records, Topic};

use super::Backend;
use super::support::{append, numbered, read_all, read_numbers, soon};

pub async fn a_partition_keeps_the_order_of_appends<B: Backend>() {
    let backend = B::fresh("order").await;
    let log = backend.open().await;
    // Of lately: what is older than the retention may be gone by the time it is read.
    let base = super::support::now_ms() - 10_000;
    // Called one after another without waiting: many are on their way at the same time.
    let mut waiting = Vec::new();
    for round in 0..40 {
        let mut records = Records::new();
        for n in round * 50..round * 50 + 50 {
            let (key, value) = (format!("k{}", n % 7), n.to_string());
            let partition = u32::try_from(n % 3).expect("small");
            records.push(
                Topic::LocationUpdates,
                partition,
                base + n,
                key.as_bytes(),
                [],
                value.as_bytes(),
            );
        }
        waiting.push(log.append(records));
    }
    for append in waiting {
        soon("an append", append).await.expect("appending");
    }
    for partition in 0..3 {
        let expected: Vec<u64> = (0..2_000)
            .filter(|n| n % 3 == u64::from(partition))
            .collect();
        assert_eq!(
            read_numbers(&log, Topic::LocationUpdates, partition).await,
            expected
        );
        let offsets: Vec<_> = read_all(&log, Topic::LocationUpdates, partition)
            .await
            .iter()
            .map(|r| r.offset)
            .collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "offsets rise");
    }
    log.close().await;
}

pub async fn writers_at_the_same_time_keep_their_own_order<B: Backend>() {
    const EACH: u64 = 200;
    let backend = B::fresh("writers").await;
    let log = backend.open().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            for n in 0..EACH {
                append(
                    &log,
                    numbered(Topic::LocationUpdates, 1, [writer * EACH + n]),
                )
                .await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer");
    }
    let all = read_numbers(&log, Topic::LocationUpdates, 1).await;
    for writer in 0..4 {
        let own: Vec<_> = all.iter().copied().filter(|n| n / EACH == writer).collect();
        assert_eq!(
            own,
            (writer * EACH..(writer + 1) * EACH).collect::<Vec<_>>()
        );
    }
    log.close().await;
}

pub async fn headers_tombstones_and_empty_values_survive<B: Backend>() {
    let backend = B::fresh("roundtrip").await;
    let log = backend.open().await;
    let mut records = Records::new();
    let binary: &[u8] = &[0, 255, 10, 13, 0];
    let none: &[u8] = b"";
    records.push(
        Topic::ProcessorState,
        2,
        11,
        b"a",
        [("id", binary), ("empty", none), ("id", b"2")],
        b"v",
    );
    records.push(Topic::ProcessorState, 2, 12, b"b", [], b"");
    records.push_tombstone(Topic::ProcessorState, 2, super::support::now_ms(), b"c");
    records.push(
        Topic::ProcessorState,
        2,
        14,
        binary,
        [("x", binary)],
        binary,
    );
    append(&log, records).await;
    let all = read_all(&log, Topic::ProcessorState, 2).await;
    assert_eq!(all.len(), 4);
    let headers: Vec<_> = all[0]
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_slice()))
        .collect();
    assert_eq!(
        headers,
        [("id", binary), ("empty", none), ("id", &b"2"[..])]
    );
    assert_eq!(
        (all[0].timestamp_ms, all[0].key.as_slice()),
        (11, &b"a"[..])
    );
    assert_eq!(
        all[1].value.as_deref(),
        Some(none),
        "an empty value is no tombstone"
    );
    assert_eq!((all[2].key.as_slice(), &all[2].value), (&b"c"[..], &None));
    assert_eq!(
        (all[3].key.as_slice(), all[3].value.as_deref()),
        (binary, Some(binary))
    );
    log.close().await;
}
