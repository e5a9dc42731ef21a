//! Retention by time and size, and compaction. A backend may take its time for each, but not
//! remove what has to stay.

use std::collections::HashMap;

use laneway_log::{LogError, Records, Topic};

use super::Backend;
use super::support::{
    append, append_numbers, eventually, next, now_ms, number, read_all, read_from, read_numbers,
    reader,
};

pub async fn old_records_go_and_the_earliest_offset_advances<B: Backend>() {
    let backend = B::fresh("age").await;
    let log = backend
        .open_with(|c| c.retention_seconds = 60)
        .await
        .expect("opening");
    let mut old = Records::new();
    for n in 0..10 {
        old.push(
            Topic::TenantStreams,
            0,
            now_ms() - 600_000 + n,
            b"k",
            [],
            b"old",
        );
    }
    append(&log, old).await;
    append_numbers(&log, Topic::TenantStreams, 1, 0..10).await;
    eventually("old records to go", async || {
        (log.bounds(Topic::TenantStreams, 0)
            .await
            .expect("bounds")
            .earliest
            == 10)
            .then_some(())
    })
    .await;
    append_numbers(&log, Topic::TenantStreams, 0, 10..20).await;
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, 0).await,
        (10..20).collect::<Vec<_>>()
    );
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, 1).await,
        (0..10).collect::<Vec<_>>()
    );
    let mut reader = reader(&log, Topic::TenantStreams, &[(0, 3)]).await;
    match next(&mut reader).await {
        Err(LogError::OutOfRange {
            offset: 3,
            earliest: 10,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    log.close().await;
}

pub async fn a_partition_is_bounded_by_bytes<B: Backend>() {
    const KEPT: u64 = 2 << 20;
    let backend = B::fresh("bytes").await;
    let log = backend
        .open_with(|c| c.retention_bytes = KEPT)
        .await
        .expect("opening");
    let value = vec![b'x'; 64 << 10];
    let mut written = 0;
    eventually("the oldest records to go", async || {
        let mut records = Records::new();
        for _ in 0..8 {
            records.push(Topic::TenantStreams, 0, now_ms(), b"k", [], &value);
        }
        append(&log, records).await;
        written += 8;
        (log.bounds(Topic::TenantStreams, 0)
            .await
            .expect("bounds")
            .earliest
            > 0)
        .then_some(())
    })
    .await;
    // Read from where it is: more may go meanwhile.
    let newest = read_from(&log, Topic::TenantStreams, 0, written - 1).await;
    assert_eq!(newest.len(), 1, "the newest stay");
    let bounds = log.bounds(Topic::TenantStreams, 0).await.expect("bounds");
    assert!(
        (bounds.end - bounds.earliest) * (64 << 10) >= KEPT / 2,
        "no more than needed goes"
    );
    log.close().await;
}

pub async fn compaction_keeps_the_last_value_of_each_key<B: Backend>() {
    const KEYS: u64 = 7;
    let backend = B::fresh("compaction").await;
    let log = backend.open().await;
    let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
    for start in (0..200).step_by(20) {
        let mut records = Records::new();
        for n in start..start + 20 {
            let key = format!("key-{}", n % KEYS).into_bytes();
            records.push(
                Topic::SinkCursors,
                1,
                now_ms(),
                &key,
                [],
                n.to_string().as_bytes(),
            );
            last.insert(key, n);
        }
        append(&log, records).await;
    }
    let mut gone = Records::new();
    gone.push_tombstone(Topic::SinkCursors, 1, now_ms(), b"key-3");
    append(&log, gone).await;
    last.remove(&b"key-3"[..]);
    // Whatever has been removed by now: the last of each key is there, and the order is kept.
    for _ in 0..2 {
        let all = read_all(&log, Topic::SinkCursors, 1).await;
        assert!(all.is_sorted_by(|a, b| a.offset < b.offset), "offsets rise");
        let mut seen: HashMap<Vec<u8>, u64> = HashMap::new();
        for record in all {
            match &record.value {
                None => seen.remove(&record.key),
                value => seen.insert(record.key, number(value.as_deref())),
            };
        }
        assert_eq!(seen, last);
    }
    let end = log.bounds(Topic::SinkCursors, 1).await.expect("bounds").end;
    log.close().await;
    let log = backend.open().await;
    assert_eq!(
        log.bounds(Topic::SinkCursors, 1).await.expect("bounds").end,
        end,
        "no offset is given twice"
    );
    log.close().await;
}
