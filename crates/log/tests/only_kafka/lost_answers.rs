//! Commits whose answer is late or never comes: what they say, and that each unit is there once.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{Batch, Epoch, Log, LogError, Member, Result, Topic};
use laneway_testkit::Way;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use tokio::task::JoinHandle;

use super::end;
use super::proxied::{Proxied, next_end_of_transaction};
use crate::conformance::support::{
    append_numbers, assigned, bounded, copy_of, eventually, join, numbers_of, read_numbers,
    records, soon, spec,
};

/// A member behind the proxy whose unit is on its way, and a log that is not behind it.
struct Scene {
    place: Proxied,
    log: Arc<dyn Log>,
    inside: Arc<dyn Log>,
    member: Box<dyn Member>,
    epoch: Epoch,
    committing: JoinHandle<Result<()>>,
}

impl Scene {
    /// Where the commit has been sent, and nothing moves `way` any more.
    async fn stalled(place: Proxied, way: Way, transaction_timeout_ms: u32) -> Self {
        let log = place
            .open_with(|config| config.kafka.transaction_timeout_ms = transaction_timeout_ms)
            .await;
        let inside = place.open_inside().await;
        append_numbers(&log, Topic::LocationUpdates, 1, 0..10).await;
        let mut member = join(&log, spec("g", "a")).await;
        let (_, epoch) = assigned(&mut member).await;
        let batch = records(&mut member).await;
        assert_eq!(numbers_of(&batch), (0..10).collect::<Vec<_>>());
        let proxy = place.proxy();
        proxy
            .stall_at(way, next_end_of_transaction)
            .expect("a stall");
        let committing = tokio::spawn(member.committer().commit(copy_of(&batch, epoch)));
        soon("the commit to be sent", proxy.stalled()).await;
        Scene {
            place,
            log,
            inside,
            member,
            epoch,
            committing,
        }
    }

    /// All that readers of committed records get.
    async fn readable(&self) -> Vec<u64> {
        read_numbers(&self.inside, Topic::TenantStreams, 1).await
    }

    async fn until_readable(&self) {
        eventually("the unit to be committed", async || {
            (self.readable().await == (0..10).collect::<Vec<_>>()).then_some(())
        })
        .await;
        assert!(!self.committing.is_finished(), "it was answered");
    }

    async fn committed(&mut self) -> Result<()> {
        soon("the commit's answer", &mut self.committing)
            .await
            .expect("the commit runs")
    }

    /// The member commits what comes next, and everything is there once.
    async fn goes_on(mut self) {
        append_numbers(&self.inside, Topic::LocationUpdates, 1, 10..20).await;
        let batch = records(&mut self.member).await;
        let epoch = self.epoch;
        self.ends_with(&batch, epoch).await;
    }

    /// The member has ended. The next one starts with the record `first`.
    async fn starts_anew(mut self, first: u64) {
        self.member = join(&self.log, spec("g", "a")).await;
        let (_, epoch) = assigned(&mut self.member).await;
        append_numbers(&self.inside, Topic::LocationUpdates, 1, 10..20).await;
        let mut batch = records(&mut self.member).await;
        assert_eq!(numbers_of(&batch).first(), Some(&first));
        while batch.next_offset() < 20 {
            let unit = copy_of(&batch, epoch);
            let committed = soon("a unit", self.member.committer().commit(unit)).await;
            committed.expect("committing");
            batch = records(&mut self.member).await;
        }
        self.ends_with(&batch, epoch).await;
    }

    async fn ends_with(self, batch: &Batch, epoch: Epoch) {
        let unit = copy_of(batch, epoch);
        let committed = soon("a unit", self.member.committer().commit(unit)).await;
        committed.expect("committing");
        assert_eq!(self.readable().await, (0..20).collect::<Vec<_>>());
        self.member.leave().await;
        self.log.close().await;
        self.inside.close().await;
    }
}

const LONG: u32 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_late_waits_for_it() {
    let place = Proxied::fresh("late").await;
    let case = async {
        let mut scene = Scene::stalled(place, Way::ToClient, LONG).await;
        scene.until_readable().await;
        // For longer than one question for the outcome takes.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(!scene.committing.is_finished(), "it was answered");
        scene.place.restore().await;
        scene.committed().await.expect("it is committed");
        scene.goes_on().await;
    };
    bounded("late", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_with_its_connection_is_known_to_have_happened() {
    let place = Proxied::fresh("lost").await;
    let case = async {
        let mut scene = Scene::stalled(place, Way::ToClient, LONG).await;
        scene.until_readable().await;
        scene.place.cut().await;
        scene.place.restore().await;
        scene.committed().await.expect("it is committed");
        scene.goes_on().await;
    };
    bounded("lost", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_lost_with_its_connection_is_asked_for_again() {
    let place = Proxied::fresh("unsent").await;
    let case = async {
        let mut scene = Scene::stalled(place, Way::ToServer, LONG).await;
        scene.place.cut().await;
        let bounds = scene.inside.bounds(Topic::TenantStreams, 1).await;
        let bounds = bounds.expect("bounds");
        assert_eq!((bounds.last_stable, bounds.end), (0, 10), "it is open");
        scene.place.restore().await;
        scene.committed().await.expect("it is committed");
        scene.goes_on().await;
    };
    bounded("unsent", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_comes_after_the_transactions_timeout_is_fenced_and_leaves_nothing() {
    let place = Proxied::fresh("toolate").await;
    let case = async {
        let mut scene = Scene::stalled(place, Way::ToServer, 1_000).await;
        eventually("the coordinator to abort", async || {
            let bounds = scene.inside.bounds(Topic::TenantStreams, 1).await;
            let bounds = bounds.expect("bounds");
            // Ten records and the marker.
            (bounds.last_stable == 11).then_some(())
        })
        .await;
        assert!(scene.readable().await.is_empty());
        scene.place.restore().await;
        let committed = scene.committed().await;
        assert!(
            matches!(committed, Err(LogError::Fenced { .. })),
            "{committed:?}"
        );
        let over = end(&mut scene.member).await;
        assert!(matches!(over, LogError::Fenced { .. }), "{over:?}");
        scene.starts_anew(0).await;
    };
    bounded("toolate", case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_between_a_commit_and_its_answer_leaves_its_outcome_unknown() {
    let place = Proxied::fresh("successor").await;
    let case = async {
        let mut scene = Scene::stalled(place, Way::ToClient, LONG).await;
        scene.until_readable().await;
        let id = format!("{}g-a", scene.place.config().topic_prefix);
        let bootstrap = scene.place.bootstrap_inside();
        let successor = tokio::task::spawn_blocking(move || {
            let producer: BaseProducer = ClientConfig::new()
                .set("bootstrap.servers", bootstrap)
                .set("transactional.id", id)
                .create()
                .expect("a producer");
            producer
                .init_transactions(Duration::from_secs(30))
                .expect("taking the transactional id over");
        });
        successor.await.expect("the successor");
        scene.place.cut().await;
        scene.place.restore().await;
        let committed = scene.committed().await;
        assert!(
            matches!(&committed, Err(LogError::Fatal(said)) if said.contains("is unknown")),
            "{committed:?}"
        );
        let over = end(&mut scene.member).await;
        assert!(matches!(over, LogError::Fenced { .. }), "{over:?}");
        scene.starts_anew(10).await;
    };
    bounded("successor", case).await;
}
