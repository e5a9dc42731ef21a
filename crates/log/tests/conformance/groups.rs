//! Groups: assignment, rebalances, fencing, committed offsets.

use std::sync::Arc;

use laneway_log::{GroupSpec, GroupStart, LogError, MemberEvent, Topic, group_lag};
use tokio::sync::Notify;

use super::support::{
    Copied, append, append_numbers, assigned, caught_up, copy_of, copy_until, event, join,
    numbered, numbers_of, read_numbers, records, soon, spec,
};
use super::{Backend, PARTITIONS};

pub async fn a_group_goes_on_from_its_committed_offsets<B: Backend>() {
    let backend = B::fresh("resume").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 2, 0..50).await;
    let mut member = join(&log, spec("g", "a")).await;
    let (partitions, epoch) = assigned(&mut member).await;
    assert_eq!(
        partitions,
        (0..PARTITIONS).collect::<Vec<_>>(),
        "the only member owns everything"
    );
    let mut unit = copy_of(&records(&mut member).await, epoch);
    unit.offsets = vec![(Topic::LocationUpdates, 2, 20)];
    soon("a unit", member.committer().commit(unit))
        .await
        .expect("committing");
    member.leave().await;
    log.close().await;

    let log = backend.open().await;
    assert_eq!(
        log.committed("g", Topic::LocationUpdates)
            .await
            .expect("committed")[2],
        Some(20)
    );
    let mut member = join(&log, spec("g", "b")).await;
    assigned(&mut member).await;
    assert_eq!(numbers_of(&records(&mut member).await)[0], 20);
    member.leave().await;
    log.close().await;
}

pub async fn a_group_may_start_at_the_end<B: Backend>() {
    let backend = B::fresh("latest").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
    let mut member = join(
        &log,
        GroupSpec {
            start: GroupStart::Latest,
            ..spec("g", "a")
        },
    )
    .await;
    assigned(&mut member).await;
    append_numbers(&log, Topic::LocationUpdates, 0, 10..11).await;
    assert_eq!(numbers_of(&records(&mut member).await), [10]);
    member.leave().await;
    log.close().await;
}

pub async fn seeking_goes_on_reading_elsewhere<B: Backend>() {
    let backend = B::fresh("seek").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..40).await;
    let mut member = join(&log, spec("g", "a")).await;
    assigned(&mut member).await;
    member
        .seek(Topic::LocationUpdates, 0, 33)
        .await
        .expect("an assigned partition");
    // Records read before the seek may come first.
    let batch = loop {
        let batch = records(&mut member).await;
        if numbers_of(&batch)[0] != 0 {
            break batch;
        }
    };
    assert_eq!(numbers_of(&batch)[0], 33);
    member.leave().await;
    log.close().await;
}

pub async fn members_process_every_record_once_over_joins_and_leaves<B: Backend>() {
    const ROUNDS: u64 = 60;
    let backend = B::fresh("rebalance").await;
    let log = backend.open().await;
    let stops = [
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    ];
    let worker = |index: usize| {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stops[index]));
        let spec = spec("g", &format!("worker-{index}"));
        tokio::spawn(async move {
            if let Copied::Failed(error) = copy_until(&log, spec, &stop).await {
                panic!("worker {index}: {error}");
            }
        })
    };
    let mut workers = vec![worker(0)];
    for round in 0..ROUNDS {
        for partition in 0..PARTITIONS {
            append(
                &log,
                numbered(
                    Topic::LocationUpdates,
                    partition,
                    round * 20..round * 20 + 20,
                ),
            )
            .await;
        }
        match round {
            10 | 25 => workers.push(worker(workers.len())),
            40 => stops[0].notify_one(),
            50 => stops[2].notify_one(),
            _ => {}
        }
    }
    caught_up(&log, "g", Topic::LocationUpdates).await;
    stops[1].notify_one();
    for worker in workers {
        soon("a worker's end", worker).await.expect("a worker");
    }
    for partition in 0..PARTITIONS {
        let copied = read_numbers(&log, Topic::TenantStreams, partition).await;
        assert_eq!(
            copied,
            (0..ROUNDS * 20).collect::<Vec<_>>(),
            "partition {partition}"
        );
    }
    log.close().await;
}

pub async fn an_epoch_ends_with_its_assignment<B: Backend>() {
    let backend = B::fresh("epoch").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
    append_numbers(&log, Topic::LocationUpdates, PARTITIONS - 1, 0..10).await;
    let mut first = join(&log, spec("g", "a")).await;
    let (_, old) = assigned(&mut first).await;
    let batch = records(&mut first).await;
    let mut second = join(&log, spec("g", "b")).await;
    let other = tokio::spawn(async move {
        let (partitions, _) = assigned(&mut second).await;
        (second, partitions)
    });
    loop {
        match event(&mut first).await {
            MemberEvent::Revoked { done, .. } => {
                // Possible until the answer.
                soon("a unit", first.committer().commit(copy_of(&batch, old)))
                    .await
                    .expect("before the answer");
                drop(done);
                break;
            }
            MemberEvent::Records(_) => {}
            other => panic!("{other:?} instead of a revocation"),
        }
    }
    let (mine, new) = assigned(&mut first).await;
    let (second, theirs) = soon("the other's assignment", other)
        .await
        .expect("the other");
    assert_ne!(old, new);
    let mut all = [mine, theirs].concat();
    all.sort_unstable();
    assert_eq!(
        all,
        (0..PARTITIONS).collect::<Vec<_>>(),
        "each partition has one owner"
    );
    let fenced = soon("a unit", first.committer().commit(copy_of(&batch, old))).await;
    assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, batch.partition()).await,
        numbers_of(&batch)
    );
    second.leave().await;
    first.leave().await;
    log.close().await;
}

pub async fn a_second_member_of_the_same_instance_fences_the_first<B: Backend>() {
    let backend = B::fresh("instance").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
    let mut first = join(&log, spec("g", "same")).await;
    let (_, epoch) = assigned(&mut first).await;
    let batch = records(&mut first).await;
    let second = join(&log, spec("g", "same")).await;
    let fenced = soon("a unit", first.committer().commit(copy_of(&batch, epoch))).await;
    assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
    assert!(read_numbers(&log, Topic::TenantStreams, 0).await.is_empty());
    drop(first);
    second.leave().await;
    log.close().await;
}

pub async fn lag_counts_what_is_not_committed<B: Backend>() {
    let backend = B::fresh("lag").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 1, 0..30).await;
    let mut member = join(&log, spec("g", "a")).await;
    let (_, epoch) = assigned(&mut member).await;
    let mut unit = copy_of(&records(&mut member).await, epoch);
    unit.offsets = vec![(Topic::LocationUpdates, 1, 12)];
    soon("a unit", member.committer().commit(unit))
        .await
        .expect("committing");
    let lags = group_lag(&*log, "g", Topic::LocationUpdates)
        .await
        .expect("lag");
    assert_eq!((lags[1].committed, lags[1].lag), (Some(12), 18));
    assert_eq!((lags[0].committed, lags[0].lag), (None, 0));
    member.leave().await;
    log.close().await;
}
