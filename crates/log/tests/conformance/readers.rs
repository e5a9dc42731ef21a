//! Readers without a group, and positions by time.

use std::sync::Arc;

use laneway_log::{Follower, LogError, Records, Topic};

use super::Backend;
use super::support::{append, append_numbers, next, numbers_of, read_from, reader, soon};

pub async fn a_reader_passes_from_history_to_live<B: Backend>() {
    const ALL: u64 = 3_000;
    let backend = B::fresh("live").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::TenantStreams, 0, 0..ALL / 2).await;
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for start in (ALL / 2..ALL).step_by(10) {
                append_numbers(&log, Topic::TenantStreams, 0, start..start + 10).await;
            }
        })
    };
    let mut reader = reader(&log, Topic::TenantStreams, &[(0, 0)]).await;
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(ALL).expect("small") {
        seen.extend(numbers_of(&next(&mut reader).await.expect("reading")));
    }
    assert_eq!(seen, (0..ALL).collect::<Vec<_>>());
    writer.await.expect("the writer");
    log.close().await;
}

pub async fn a_follower_gets_what_is_there_and_then_what_comes<B: Backend>() {
    let backend = B::fresh("follower").await;
    let log = backend.open().await;
    let topic = Topic::SinkCursors;
    append_numbers(&log, topic, 0, 0..5).await;
    append_numbers(&log, topic, 2, 5..8).await;
    let mut follower = Follower::new(Arc::clone(&log), topic);
    let mut seen = Vec::new();
    while !follower.is_caught_up() {
        seen.extend(numbers_of(&soon("what is there", follower.next()).await));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..8).collect::<Vec<_>>(), "all partitions");
    append_numbers(&log, topic, 3, 8..9).await;
    while seen.len() < 9 {
        seen.extend(numbers_of(&soon("what comes", follower.next()).await));
    }
    assert_eq!(seen.last(), Some(&8));
    assert!(follower.is_caught_up(), "once and for all");
    log.close().await;
}

pub async fn a_reader_says_once_that_it_has_caught_up<B: Backend>() {
    let backend = B::fresh("caughtup").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::TenantStreams, 1, 0..5).await;
    let mut reader = reader(&log, Topic::TenantStreams, &[(0, 0), (1, 0)]).await;
    let (mut seen, mut empty) = (Vec::new(), Vec::new());
    while empty.len() < 2 {
        let batch = next(&mut reader).await.expect("reading");
        if batch.is_empty() {
            empty.push((batch.partition(), batch.next_offset()));
        } else {
            seen.extend(numbers_of(&batch));
        }
    }
    empty.sort_unstable();
    assert_eq!(empty, [(0, 0), (1, 5)]);
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    // Then only when there was something again.
    append_numbers(&log, Topic::TenantStreams, 0, 5..6).await;
    let batch = next(&mut reader).await.expect("reading");
    assert_eq!((batch.partition(), numbers_of(&batch)), (0, vec![5]));
    let batch = next(&mut reader).await.expect("reading");
    assert_eq!(
        (batch.partition(), batch.len(), batch.next_offset()),
        (0, 0, 1)
    );
    log.close().await;
}

pub async fn a_reader_starts_in_the_middle<B: Backend>() {
    let backend = B::fresh("middle").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::TenantStreams, 0, 0..100).await;
    for from in [0, 1, 57, 99, 100] {
        let all = read_from(&log, Topic::TenantStreams, 0, from).await;
        assert_eq!(
            all.iter().map(|r| r.offset).collect::<Vec<_>>(),
            (from..100).collect::<Vec<_>>()
        );
    }
    // And of what no memory holds any more.
    log.close().await;
    let log = backend.open().await;
    for from in [0, 1, 57, 99, 100] {
        let all = read_from(&log, Topic::TenantStreams, 0, from).await;
        assert_eq!(
            all.iter().map(|r| r.offset).collect::<Vec<_>>(),
            (from..100).collect::<Vec<_>>()
        );
    }
    log.close().await;
}

pub async fn a_reader_moves_between_partitions<B: Backend>() {
    let backend = B::fresh("moves").await;
    let log = backend.open().await;
    for partition in 0..3 {
        let start = u64::from(partition) * 100;
        append_numbers(&log, Topic::TenantStreams, partition, start..start + 10).await;
    }
    let mut reader = reader(&log, Topic::TenantStreams, &[(0, 0)]).await;
    assert_eq!(numbers_of(&next(&mut reader).await.expect("reading"))[0], 0);
    reader.unassign(0).expect("unassigning");
    reader.assign(1, 4).expect("assigning");
    let batch = loop {
        let batch = next(&mut reader).await.expect("reading");
        if batch.partition() == 1 && !batch.is_empty() {
            break batch;
        }
    };
    assert_eq!(numbers_of(&batch)[0], 104);
    reader.assign(1, 8).expect("moving");
    let batch = loop {
        let batch = next(&mut reader).await.expect("reading");
        assert_eq!(batch.partition(), 1);
        if !batch.is_empty() {
            break batch;
        }
    };
    assert_eq!(numbers_of(&batch)[0], 108);
    log.close().await;
}

pub async fn an_offset_past_the_end_is_out_of_range<B: Backend>() {
    let backend = B::fresh("outofrange").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::TenantStreams, 0, 0..10).await;
    let mut reader = reader(&log, Topic::TenantStreams, &[(0, 1_000)]).await;
    match next(&mut reader).await {
        Err(LogError::OutOfRange {
            offset: 1_000,
            earliest: 0,
            end: 10,
            partition: 0,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    // The reader can go on elsewhere.
    reader.assign(0, 9).expect("moving");
    assert_eq!(numbers_of(&next(&mut reader).await.expect("reading")), [9]);
    log.close().await;
}

pub async fn the_offset_at_a_time_is_the_first_at_or_after_it<B: Backend>() {
    let backend = B::fresh("attime").await;
    let log = backend.open().await;
    let base = super::support::now_ms() - 1_000_000;
    for round in 0..20 {
        let mut records = Records::new();
        for n in 0..10 {
            records.push(
                Topic::TenantStreams,
                0,
                base + (round * 10 + n) * 10,
                b"k",
                [],
                b"v",
            );
        }
        append(&log, records).await;
    }
    for (after, offset) in [
        (-5, 0),
        (0, 0),
        (1, 1),
        (10, 1),
        (555, 56),
        (1_990, 199),
        (1_991, 200),
        (9_999, 200),
    ] {
        let found = log
            .offset_at(Topic::TenantStreams, 0, base + after)
            .await
            .expect("looking");
        assert_eq!(found, offset, "{after} ms after the first");
    }
    assert_eq!(
        log.offset_at(Topic::TenantStreams, 1, base)
            .await
            .expect("looking"),
        0,
        "an empty partition"
    );
    // What is appended while somebody looks for its time is not missed.
    for n in 0..200 {
        let at = base + 100_000 + n;
        let mut records = Records::new();
        records.push(Topic::TenantStreams, 2, at, b"k", [], b"v");
        let (found, ()) = tokio::join!(
            log.offset_at(Topic::TenantStreams, 2, at),
            append(&log, records)
        );
        let found = found.expect("looking");
        assert!(found <= u64::try_from(n).unwrap(), "{found} for {n}");
    }
    log.close().await;
}
