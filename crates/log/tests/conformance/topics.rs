//! Topics are as the configuration says, or the log does not open.

use laneway_log::{GroupSpec, LogError, Topic, TopicSetup};

use super::support::{append_numbers, read_numbers, soon, spec};
use super::{Backend, PARTITIONS};

pub async fn another_partition_count_is_refused<B: Backend>() {
    let backend = B::fresh("count").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..3).await;
    log.close().await;
    for setup in [TopicSetup::Create, TopicSetup::Verify] {
        let opened = backend
            .open_with(|c| (c.partitions, c.topics) = (PARTITIONS + 1, setup))
            .await;
        match opened.map(|_| ()) {
            Err(LogError::Topic { topic, reason }) => {
                assert!(!topic.is_empty());
                assert!(reason.contains(&PARTITIONS.to_string()), "{reason}");
                assert!(reason.contains(&(PARTITIONS + 1).to_string()), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    let log = backend
        .open_with(|c| c.topics = TopicSetup::Verify)
        .await
        .expect("the right count");
    assert_eq!(
        read_numbers(&log, Topic::LocationUpdates, 0).await,
        [0, 1, 2]
    );
    log.close().await;
}

pub async fn missing_topics_are_refused_where_they_are_only_verified<B: Backend>() {
    let backend = B::fresh("missing").await;
    for _ in 0..2 {
        match backend
            .open_with(|c| c.topics = TopicSetup::Verify)
            .await
            .map(|_| ())
        {
            Err(LogError::Topic { reason, .. }) => assert!(reason.contains("missing"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

pub async fn a_group_needs_topics_of_equal_partition_counts<B: Backend>() {
    let backend = B::fresh("copartition").await;
    let log = backend.open().await;
    let topics = vec![Topic::LocationUpdates, Topic::TenantEvents];
    let joined = soon(
        "joining",
        log.join(GroupSpec {
            topics,
            ..spec("g", "a")
        }),
    )
    .await;
    assert!(matches!(joined.map(|_| ()), Err(LogError::Config(_))));
    log.close().await;
}
