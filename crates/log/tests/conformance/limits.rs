//! Bounds, and what is said where one is reached.

use laneway_log::{LogError, Records, Topic};

use super::Backend;
use super::support::{append, append_numbers, eventually, read_all, read_numbers, soon};

pub async fn a_record_at_the_limit_passes_and_one_over_it_harms_nothing<B: Backend>() {
    let backend = B::fresh("size").await;
    let log = backend.open().await;
    let limit = log.max_record_bytes();
    let mut records = Records::new();
    let name: &[u8] = b"12345678";
    // Key, header (2 + 1 + 4 + 8 as it is packed) and value make up exactly the limit.
    let value = vec![b'v'; limit - 3 - 15];
    records.push(Topic::LocationUpdates, 0, 1, b"key", [("n", name)], &value);
    append(&log, records).await;

    let mut records = Records::new();
    records.push(Topic::LocationUpdates, 0, 1, b"before", [], b"before");
    records.push(
        Topic::LocationUpdates,
        0,
        1,
        b"",
        [],
        &vec![b'v'; limit + 1],
    );
    match soon("an append", log.append(records)).await {
        Err(LogError::TooLarge {
            topic: Topic::LocationUpdates,
            bytes,
            limit: said,
        }) => {
            assert_eq!((bytes, said), (limit + 1, limit));
        }
        other => panic!("{other:?}"),
    }
    append_numbers(&log, Topic::LocationUpdates, 0, 7..8).await;
    let all = read_all(&log, Topic::LocationUpdates, 0).await;
    assert_eq!(all.len(), 2, "nothing of the refused append is there");
    assert_eq!(all[0].value.as_deref(), Some(value.as_slice()));
    assert_eq!(all[1].value.as_deref(), Some(&b"7"[..]));
    log.close().await;
}

pub async fn a_full_queue_is_busy_and_recovers<B: Backend>() {
    let backend = B::fresh("busy").await;
    let log = backend
        .open_with(|c| c.max_queued_bytes = 64 << 10)
        .await
        .expect("opening");
    let value = vec![b'v'; 8 << 10];
    let one = || {
        let mut records = Records::new();
        records.push(Topic::LocationUpdates, 0, 1, b"k", [], &value);
        records
    };
    let flying: Vec<_> = (0..2_000).map(|_| log.append(one())).collect();
    let (mut taken, mut busy) = (0, 0);
    for append in flying {
        match soon("an append", append).await {
            Ok(()) => taken += 1,
            Err(LogError::Busy { queued_bytes }) => {
                assert!(queued_bytes <= 64 << 10);
                busy += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(taken > 0 && busy > 0, "{taken} taken, {busy} refused");
    eventually("room again", async || log.append(one()).await.ok()).await;
    assert_eq!(
        read_all(&log, Topic::LocationUpdates, 0).await.len(),
        taken + 1,
        "what was refused is not there"
    );
    log.close().await;
}

pub async fn an_unknown_partition_is_refused<B: Backend>() {
    let backend = B::fresh("partition").await;
    let log = backend.open().await;
    let mut records = Records::new();
    records.push(Topic::LocationUpdates, 0, 1, b"k", [], b"1");
    records.push(Topic::LocationUpdates, 99, 1, b"k", [], b"2");
    assert!(soon("an append", log.append(records)).await.is_err());
    assert!(
        soon("bounds", log.bounds(Topic::TenantEvents, 1))
            .await
            .is_err()
    );
    assert_eq!(log.partitions(Topic::TenantEvents), 1);
    append_numbers(&log, Topic::LocationUpdates, 0, 5..6).await;
    assert_eq!(read_numbers(&log, Topic::LocationUpdates, 0).await, [5]);
    log.close().await;
}

pub async fn a_closed_log_says_so<B: Backend>() {
    let backend = B::fresh("closed").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..1).await;
    assert!(log.health().is_ok());
    soon("closing", log.close()).await;
    let mut records = Records::new();
    records.push(Topic::LocationUpdates, 0, 1, b"k", [], b"1");
    let refused = soon("an append", log.append(records)).await;
    assert!(matches!(refused, Err(LogError::Closed)), "{refused:?}");
    soon("closing again", log.close()).await;
}
