//! What the suite cannot say of every backend.

mod any_moment;
mod lost_answers;
mod no_coordinator;
mod proxied;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use laneway_log::{Bounds, GroupSpec, LogError, MemberEvent, Records, Topic};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::conformance::Backend;
use crate::conformance::PARTITIONS;
use crate::conformance::support::{
    append, append_numbers, assigned, bounded, copy_of, event, eventually, join, next, now_ms,
    reader, records, soon, spec,
};

type Place = crate::kafka::Place<1, false>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_ends_what_is_stable_and_not_the_partition() {
    let case = async {
        let place = Place::fresh("openunit").await;
        let log = place.open().await;
        append_numbers(&log, Topic::TenantStreams, 0, 0..5).await;
        let config = place.config();
        let topic = format!("{}{}", config.topic_prefix, Topic::TenantStreams.name());
        let other = tokio::task::spawn_blocking(move || {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", &config.kafka.bootstrap)
                .set("transactional.id", &topic)
                .create()
                .expect("a producer");
            producer
                .init_transactions(Duration::from_secs(30))
                .expect("preparing");
            producer.begin_transaction().expect("beginning");
            producer
                .send(
                    BaseRecord::<[u8], [u8]>::to(&topic)
                        .partition(0)
                        .payload(b"6"),
                )
                .expect("sending");
            producer.flush(Duration::from_secs(30)).expect("flushing");
            producer
        });
        let other = other.await.expect("the other producer");
        let bounds = log.bounds(Topic::TenantStreams, 0).await.expect("bounds");
        assert_eq!((bounds.earliest, bounds.last_stable, bounds.end), (0, 5, 6));
        append_numbers(&log, Topic::TenantStreams, 0, 7..8).await;
        let mut reader = reader(&log, Topic::TenantStreams, &[(0, 4)]).await;
        assert_eq!(next(&mut reader).await.expect("reading").next_offset(), 5);
        let end = next(&mut reader).await.expect("reading");
        assert!(
            end.is_empty() && end.next_offset() == 5,
            "the open transaction holds the reader back: {end:?}"
        );
        tokio::task::spawn_blocking(move || {
            other
                .abort_transaction(Duration::from_secs(30))
                .expect("aborting")
        })
        .await
        .expect("the other producer");
        let batch = next(&mut reader).await.expect("reading");
        assert_eq!(
            batch.iter().map(|r| r.offset).collect::<Vec<_>>(),
            [6],
            "the aborted record is not delivered"
        );
        let end = next(&mut reader).await.expect("reading");
        assert!(
            end.is_empty() && end.next_offset() == 8,
            "the abort's marker is passed: {end:?}"
        );
        log.close().await;
    };
    bounded("openunit", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_another_cleanup_policy_is_refused() {
    let case = async {
        let place = Place::fresh("policy").await;
        let config = place.config();
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &config.kafka.bootstrap)
            .create()
            .expect("an admin client");
        let name = format!("{}{}", config.topic_prefix, Topic::ProcessorState.name());
        let partitions = i32::try_from(PARTITIONS).expect("small");
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
            .set("cleanup.policy", "delete");
        let created = admin
            .create_topics([&topic], &AdminOptions::new())
            .await
            .expect("asking for a topic");
        created[0].as_ref().expect("creating a topic");
        match place.open_with(|_| {}).await.map(|_| ()) {
            Err(LogError::Topic { topic, reason }) => {
                assert_eq!(topic, name);
                assert!(
                    reason.contains("cleanup.policy=delete") && reason.contains("compact"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    };
    bounded("policy", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_fails_while_the_broker_is_away_and_recovers_by_itself() {
    let case = async {
        // The name of the case that has a cluster of its own.
        let place = Place::fresh("killserver").await;
        let log = place.open().await;
        append_numbers(&log, Topic::LocationUpdates, 0, 0..7).await;
        assert!(log.health().is_ok());
        // Half of an answer is none.
        let recovered = Arc::new(AtomicBool::new(false));
        let asking = [(); 3].map(|()| {
            let (log, recovered) = (log.clone(), recovered.clone());
            tokio::spawn(async move {
                let mut answers = BTreeSet::new();
                while !recovered.load(Ordering::Relaxed) {
                    let answer = log.bounds(Topic::LocationUpdates, 0).await;
                    let offsets = |b: Bounds| (b.earliest, b.last_stable, b.end);
                    answers.extend(answer.ok().map(offsets));
                }
                answers
            })
        });
        place.kill_broker();
        eventually("health to fail", async || log.health().err()).await;
        place.restart_broker().await;
        eventually("health to recover", async || log.health().ok()).await;
        recovered.store(true, Ordering::Relaxed);
        for answers in futures_util::future::join_all(asking).await {
            assert_eq!(answers.expect("asking"), BTreeSet::from([(0, 7, 7)]));
        }
        append_numbers(&log, Topic::LocationUpdates, 0, 7..8).await;
        log.close().await;
    };
    bounded("health", case).await;
}

/// More than a member's queue holds.
async fn flood(log: &std::sync::Arc<dyn laneway_log::Log>) {
    let value = vec![b'x'; 100_000];
    for partition in 0..PARTITIONS {
        for _ in 0..8 {
            let mut records = Records::new();
            for _ in 0..10 {
                records.push(
                    Topic::LocationUpdates,
                    partition,
                    now_ms(),
                    b"k",
                    [],
                    &value,
                );
            }
            append(log, records).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_queue_is_full_does_not_hold_up_the_group() {
    let case = async {
        let log = Place::fresh("fullqueue").await.open().await;
        flood(&log).await;
        let mut first = join(&log, spec("g", "a")).await;
        let (_, old) = assigned(&mut first).await;
        let held = records(&mut first).await;
        // From here on nobody takes from the first, until the second has its share.
        let mut second = join(&log, spec("g", "b")).await;
        let (theirs, _) = assigned(&mut second).await;
        assert!(
            !theirs.is_empty() && theirs.len() < PARTITIONS as usize,
            "{theirs:?}"
        );
        let revoked = event(&mut first).await;
        assert!(
            matches!(revoked, MemberEvent::Revoked { .. }),
            "no record follows a revocation: {revoked:?}"
        );
        drop(revoked);
        let (mine, _) = assigned(&mut first).await;
        assert_eq!(mine.len() + theirs.len(), PARTITIONS as usize);
        let fenced = soon("a unit", first.committer().commit(copy_of(&held, old))).await;
        assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
        // The new assignment is read from where the group stands, however full the queue was.
        let again = records(&mut first).await;
        assert!(mine.contains(&again.partition()));
        first.leave().await;
        second.leave().await;
        log.close().await;
    };
    bounded("fullqueue", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_group_of_one_topic_catches_up_over_transaction_markers() {
    let case = async {
        let log = Place::fresh("markers").await.open().await;
        append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
        let mut copier = join(&log, spec("copier", "a")).await;
        let (_, epoch) = assigned(&mut copier).await;
        let batch = records(&mut copier).await;
        soon("a unit", copier.committer().commit(copy_of(&batch, epoch)))
            .await
            .expect("committing");
        // Ten records and the marker of their transaction.
        let topics = vec![Topic::TenantStreams];
        let mut follower = join(
            &log,
            GroupSpec {
                topics,
                ..spec("follower", "a")
            },
        )
        .await;
        let mut passed = 0;
        while passed < 11 {
            if let MemberEvent::Records(batch) = event(&mut follower).await {
                passed = batch.next_offset();
            }
        }
        copier.leave().await;
        follower.leave().await;
        log.close().await;
    };
    bounded("markers", case).await;
}

/// A member of the group that is none of this crate's, polled until it is dropped.
struct Stranger {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stranger {
    /// Waits until it has partitions.
    async fn join(place: &Place, assignor: &str, topics: &[Topic]) -> Self {
        let config = place.config();
        let prefix = &config.topic_prefix;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &config.kafka.bootstrap)
            .set("group.id", format!("{prefix}g"))
            .set("partition.assignment.strategy", assignor)
            .set("session.timeout.ms", "6000")
            .create()
            .expect("a consumer");
        let topics: Vec<String> = topics
            .iter()
            .map(|topic| format!("{prefix}{}", topic.name()))
            .collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).expect("subscribing");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let (joined, has_joined) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let mut joined = Some(joined);
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = consumer.poll(Duration::from_millis(50));
                let assigned = consumer.assignment().is_ok_and(|list| list.count() > 0);
                if let Some(joined) = joined.take_if(|_| assigned) {
                    let _ = joined.send(());
                }
            }
        });
        soon("the stranger to join", has_joined)
            .await
            .expect("the stranger runs");
        Stranger {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What ends the membership, whatever comes before.
async fn end(member: &mut Box<dyn laneway_log::Member>) -> LogError {
    loop {
        if let Err(error) = soon("the end of a membership", member.next()).await {
            return error;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_producer_is_fenced_ends() {
    let case = async {
        let place = Place::fresh("fenced").await;
        let log = place.open().await;
        append_numbers(&log, Topic::LocationUpdates, 0, 0..5).await;
        let mut member = join(&log, spec("g", "a")).await;
        let (_, epoch) = assigned(&mut member).await;
        let batch = records(&mut member).await;
        // As the coordinator does with a transaction that it has waited too long for.
        let config = place.config();
        let other = tokio::task::spawn_blocking(move || {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", &config.kafka.bootstrap)
                .set("transactional.id", format!("{}g-a", config.topic_prefix))
                .create()
                .expect("a producer");
            producer
                .init_transactions(Duration::from_secs(30))
                .expect("taking the transactional id over");
        });
        other.await.expect("the other producer");
        let committed = soon("a unit", member.committer().commit(copy_of(&batch, epoch))).await;
        assert!(
            matches!(committed, Err(LogError::Fenced { .. })),
            "{committed:?}"
        );
        let error = end(&mut member).await;
        assert!(matches!(error, LogError::Fenced { .. }), "{error:?}");
        drop(member);
        let mut anew = join(&log, spec("g", "a")).await;
        let (_, epoch) = assigned(&mut anew).await;
        let batch = records(&mut anew).await;
        let committed = soon("a unit", anew.committer().commit(copy_of(&batch, epoch))).await;
        committed.expect("committing");
        anew.leave().await;
        log.close().await;
    };
    bounded("fenced", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_another_assignor_is_not_joined() {
    let case = async {
        let place = Place::fresh("assignor").await;
        let log = place.open().await;
        let both = [Topic::LocationUpdates, Topic::SessionEvents];
        let _stranger = Stranger::join(&place, "roundrobin", &both).await;
        let mut member = join(&log, spec("g", "a")).await;
        let error = end(&mut member).await;
        assert!(
            matches!(&error, LogError::Fatal(said) if said.contains("another assignor")),
            "{error:?}"
        );
        drop(member);
        log.close().await;
    };
    bounded("assignor", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignment_that_tears_a_partitions_topics_apart_is_refused() {
    let case = async {
        let place = Place::fresh("torn").await;
        let log = place.open().await;
        let _stranger = Stranger::join(&place, "range", &[Topic::LocationUpdates]).await;
        let mut member = join(&log, spec("g", "a")).await;
        let error = end(&mut member).await;
        assert!(
            matches!(&error, LogError::Fatal(said) if said.contains("have to move together")),
            "{error:?}"
        );
        drop(member);
        log.close().await;
    };
    bounded("torn", case).await;
}
