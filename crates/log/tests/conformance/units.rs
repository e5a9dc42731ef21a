//! Units of work: records and offsets together, or not at all.

use laneway_log::{LogError, Records, Topic, Unit};

use super::child::Child;
use super::support::{
    append, append_numbers, assigned, caught_up, copy_of, copy_until, join, numbered, numbers_of,
    read_numbers, records, soon, spec,
};
use super::{Backend, PARTITIONS};

pub async fn a_unit_is_readable_with_its_offsets<B: Backend>() {
    let backend = B::fresh("unit").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 1, 0..10).await;
    let mut member = join(&log, spec("g", "a")).await;
    let (_, epoch) = assigned(&mut member).await;
    let committer = member.committer();
    let mut copied = 0;
    while copied < 10 {
        let batch = records(&mut member).await;
        soon("a unit", committer.commit(copy_of(&batch, epoch)))
            .await
            .expect("the owner commits");
        copied += batch.len();
    }
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, 1).await,
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(
        log.committed("g", Topic::LocationUpdates)
            .await
            .expect("committed")[1],
        Some(10)
    );
    assert_eq!(
        log.committed("other", Topic::LocationUpdates)
            .await
            .expect("committed")[1],
        None
    );
    // A unit may also only move offsets, or only append.
    let only_offsets = Unit {
        epoch,
        records: Records::new(),
        offsets: vec![(Topic::SessionEvents, 3, 0)],
    };
    soon("a unit", committer.commit(only_offsets))
        .await
        .expect("only offsets");
    let only_records = Unit {
        epoch,
        records: numbered(Topic::TenantStreams, 0, [7]),
        offsets: Vec::new(),
    };
    soon("a unit", committer.commit(only_records))
        .await
        .expect("only records");
    assert_eq!(
        log.committed("g", Topic::SessionEvents)
            .await
            .expect("committed")[3],
        Some(0)
    );
    assert_eq!(read_numbers(&log, Topic::TenantStreams, 0).await, [7]);
    member.leave().await;
    log.close().await;
}

pub async fn a_refused_unit_leaves_nothing_behind<B: Backend>() {
    let backend = B::fresh("refused").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 1, 0..10).await;
    let mut member = join(&log, spec("g", "a")).await;
    let (_, epoch) = assigned(&mut member).await;
    let mut unit = copy_of(&records(&mut member).await, epoch);
    // The last record is what makes the unit fail, behind good ones.
    let large = vec![b'x'; log.max_record_bytes() + 1];
    unit.records
        .push(Topic::TenantStreams, 2, 0, b"", [], &large);
    let refused = soon("a unit", member.committer().commit(unit)).await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { .. })),
        "{refused:?}"
    );
    drop(member);
    assert!(read_numbers(&log, Topic::TenantStreams, 1).await.is_empty());
    assert_eq!(
        log.committed("g", Topic::LocationUpdates)
            .await
            .expect("committed")[1],
        None
    );
    // The next member finds the same records.
    let mut member = join(&log, spec("g", "a")).await;
    let (_, epoch) = assigned(&mut member).await;
    let batch = records(&mut member).await;
    assert_eq!(numbers_of(&batch)[0], 0);
    soon("a unit", member.committer().commit(copy_of(&batch, epoch)))
        .await
        .expect("committing");
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, 1).await,
        numbers_of(&batch)
    );
    member.leave().await;
    log.close().await;
}

pub async fn a_dropped_unit_future_harms_nothing<B: Backend>() {
    let backend = B::fresh("dropped").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 1, 0..10).await;
    let mut member = join(&log, spec("g", "a")).await;
    let (_, epoch) = assigned(&mut member).await;
    let batch = records(&mut member).await;
    let committer = member.committer();
    drop(committer.commit(Unit {
        epoch,
        records: numbered(Topic::TenantStreams, 1, [77]),
        offsets: Vec::new(),
    }));
    soon("a unit", committer.commit(copy_of(&batch, epoch)))
        .await
        .expect("committing");
    let all = read_numbers(&log, Topic::TenantStreams, 1).await;
    let copied: Vec<_> = all.iter().copied().filter(|n| *n != 77).collect();
    assert_eq!(copied, numbers_of(&batch));
    assert!(all.len() - copied.len() <= 1);
    member.leave().await;
    log.close().await;
}

pub async fn kills_in_the_middle_of_units_lose_and_repeat_nothing<B: Backend>() {
    const EACH: u64 = 3_000;
    let backend = B::fresh("killunit").await;
    let log = backend.open().await;
    for partition in 0..PARTITIONS {
        for start in (0..EACH).step_by(100) {
            append(
                &log,
                numbered(Topic::LocationUpdates, partition, start..start + 100),
            )
            .await;
        }
    }
    log.close().await;
    for delay_ms in [0, 3, 40, 150] {
        let mut child = Child::start(&backend, "copy", 0);
        assert_eq!(child.line().await.as_deref(), Some("started"));
        // A random instant, not a wait for anything.
        tokio::time::sleep(std::time::Duration::from_millis(delay_ms)).await;
        child.kill().await;
    }
    let log = backend.open().await;
    let stop = tokio::sync::Notify::new();
    let rest = async {
        caught_up(&log, "copy", Topic::LocationUpdates).await;
        stop.notify_one();
    };
    let _ = tokio::join!(copy_until(&log, spec("copy", "copier-0"), &stop), rest);
    for partition in 0..PARTITIONS {
        assert_eq!(
            read_numbers(&log, Topic::TenantStreams, partition).await,
            (0..EACH).collect::<Vec<_>>()
        );
    }
    log.close().await;
}
