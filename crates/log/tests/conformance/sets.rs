//! Topic sets: lanes of their own, and groups of their own that share them out.

use laneway_log::{GroupSpec, Topic, group_lag};

use super::support::{
    append_numbers, assigned, caught_up, copy_of, join, next, numbers_of, read_numbers, reader,
    records, soon, spec,
};
use super::{Backend, PARTITIONS};

/// Of the first partition of the set `bank`.
const LANE: u32 = PARTITIONS;

pub async fn a_set_has_lanes_and_groups_of_its_own<B: Backend>() {
    let backend = B::fresh("sets").await;
    let opened = backend.open_with(|c| c.topic_sets = vec!["bank".to_owned()]);
    let log = opened.await.expect("opening the log");
    let sets = log.sets().clone();
    assert_eq!((sets.number("bank"), sets.size()), (Some(1), PARTITIONS));
    append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
    append_numbers(&log, Topic::LocationUpdates, LANE, 100..130).await;
    for set in sets.all() {
        let mut member = join(
            &log,
            GroupSpec {
                set,
                ..spec("g", "a")
            },
        )
        .await;
        let (lanes, epoch) = assigned(&mut member).await;
        assert_eq!(lanes, sets.lanes(set).collect::<Vec<_>>());
        let batch = records(&mut member).await;
        assert_eq!(batch.partition(), sets.lanes(set).start);
        let unit = copy_of(&batch, epoch);
        soon("a unit", member.committer().commit(unit))
            .await
            .expect("committing");
        member.leave().await;
    }
    let topic = Topic::LocationUpdates;
    let committed = log.committed("g", topic).await.expect("committed");
    assert_eq!(committed.len(), 2 * PARTITIONS as usize);
    assert_eq!(
        (committed[0], committed[LANE as usize]),
        (Some(10), Some(30))
    );
    let lags = group_lag(&*log, "g", topic).await.expect("lag");
    assert!(lags.iter().all(|l| l.lag == 0), "{lags:?}");
    let found = read_numbers(&log, Topic::TenantStreams, LANE).await;
    assert_eq!(found, (100..130).collect::<Vec<_>>());
    log.close().await;
}

pub async fn a_reader_of_several_sets_says_of_each_lane_that_it_has_caught_up<B: Backend>() {
    let backend = B::fresh("sets_reader").await;
    let opened = backend.open_with(|c| c.topic_sets = vec!["bank".to_owned()]);
    let log = opened.await.expect("opening the log");
    let topic = Topic::TenantStreams;
    append_numbers(&log, topic, 0, 0..3).await;
    append_numbers(&log, topic, LANE, 100..107).await;
    let mut reader = reader(&log, topic, &[(0, 0), (LANE, 0)]).await;
    let mut found = [Vec::new(), Vec::new()];
    let mut ends = [None, None];
    while ends != [Some(3), Some(7)] {
        let batch = next(&mut reader).await.expect("reading");
        let which = usize::from(batch.partition() == LANE);
        found[which].extend(numbers_of(&batch));
        if batch.is_empty() {
            ends[which] = Some(batch.next_offset());
        }
    }
    assert_eq!(found, [vec![0, 1, 2], (100..107).collect()]);
    reader.unassign(0).expect("giving a lane up");
    append_numbers(&log, topic, LANE, 107..108).await;
    loop {
        let batch = next(&mut reader).await.expect("reading");
        assert_eq!(batch.partition(), LANE);
        if numbers_of(&batch) == [107] {
            break;
        }
    }
    log.close().await;
}

/// A group that reads units of work passes what marks their end, in every set.
pub async fn an_idle_group_of_a_set_has_no_lag<B: Backend>() {
    let backend = B::fresh("sets_lag").await;
    let opened = backend.open_with(|c| c.topic_sets = vec!["bank".to_owned()]);
    let log = opened.await.expect("opening the log");
    append_numbers(&log, Topic::LocationUpdates, LANE, 0..5).await;
    let of_bank = |group: &str, topics: &[Topic]| GroupSpec {
        set: 1,
        ..GroupSpec::new(group, topics, "a")
    };
    let inputs = [Topic::LocationUpdates, Topic::SessionEvents];
    let mut member = join(&log, of_bank("copy", &inputs)).await;
    let (_, epoch) = assigned(&mut member).await;
    let unit = copy_of(&records(&mut member).await, epoch);
    soon("a unit", member.committer().commit(unit))
        .await
        .expect("committing");
    member.leave().await;

    let mut member = join(&log, of_bank("idle", &[Topic::TenantStreams])).await;
    let (_, epoch) = assigned(&mut member).await;
    let committer = member.committer();
    let reading = async {
        loop {
            let event = member.next().await.expect("an event of the group");
            if let laneway_log::MemberEvent::Records(batch) = event {
                let mut unit = copy_of(&batch, epoch);
                unit.records = laneway_log::Records::new();
                committer.commit(unit).await.expect("committing");
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = caught_up(&log, "idle", Topic::TenantStreams) => {}
    }
    log.close().await;
}

pub async fn a_set_is_added_to_a_log_with_records<B: Backend>() {
    let backend = B::fresh("sets_added").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::TenantStreams, 1, 0..4).await;
    log.close().await;
    let with = |c: &mut laneway_log::LogConfig| c.topic_sets = vec!["bank".to_owned()];
    for numbers in [0..2, 2..5] {
        let log = backend.open_with(with).await.expect("opening the log");
        append_numbers(&log, Topic::TenantStreams, LANE + 1, numbers.clone()).await;
        let found = read_numbers(&log, Topic::TenantStreams, LANE + 1).await;
        assert_eq!(found, (0..numbers.end).collect::<Vec<_>>());
        let found = read_numbers(&log, Topic::TenantStreams, 1).await;
        assert_eq!(found, [0, 1, 2, 3]);
        log.close().await;
    }
}
