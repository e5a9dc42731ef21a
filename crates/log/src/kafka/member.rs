//! A member of a group: the handle, and how it joins and leaves.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::oneshot;

use super::committer::KafkaCommitter;
use super::epochs::Epochs;
use super::poller::{Poller, Seek};
use super::rebalance::{MemberContext, Membership};
use super::unit::UnitWorker;
use super::{Follower, Shared, errors};
use crate::{Committer, GroupSpec, LogError, Member, MemberEvent, Result, Topic};

const SEEK_PATIENCE: Duration = Duration::from_secs(10);
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct KafkaMember {
    membership: Arc<Membership>,
    commands: Sender<Seek>,
    committer: Arc<KafkaCommitter>,
    left: Option<oneshot::Receiver<()>>,
}

impl KafkaMember {
    pub(super) async fn join(log: &Arc<Shared>, spec: GroupSpec) -> Result<Self> {
        if spec.topics.is_empty() || spec.topics.iter().any(|topic| !topic.co_partitioned()) {
            return Err(LogError::Config(format!(
                "group {} joins {:?}; a group needs topics that share their partitions",
                spec.group, spec.topics
            )));
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let epochs = Arc::new(Epochs::default());
        // First, so that a predecessor's open transaction no longer hides its offsets.
        let worker = UnitWorker::new(log, &spec, &epochs, &stopping)?;
        let committer = KafkaCommitter::start(worker, &stopping).await?;
        let membership = Arc::new(Membership::new(
            spec,
            &log.names,
            &log.health,
            &epochs,
            &stopping,
            log.settings.session_timeout(),
        ));
        let consumer: BaseConsumer<MemberContext> = log
            .settings
            .member(&membership.spec)
            .create_with_context(MemberContext(membership.clone()))
            .map_err(|error| {
                LogError::Config(format!("the Kafka consumer refused its settings: {error}"))
            })?;
        let topics: Vec<&str> = membership
            .spec
            .topics
            .iter()
            .map(|t| log.names.of_set(*t, membership.spec.set))
            .collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| errors::unavailable("joining a group", &error))?;
        let (commands, received) = channel();
        let (closed, left) = oneshot::channel();
        let polled = membership.clone();
        std::thread::Builder::new()
            .name("log-member".to_owned())
            .spawn(move || {
                Poller::new(consumer, polled, received).run();
                let _ = closed.send(());
            })
            .map_err(|error| {
                LogError::Fatal(format!(
                    "no thread could be started for a group member: {error}"
                ))
            })?;
        let follower: Arc<dyn Follower> = membership.clone();
        log.follow(Arc::downgrade(&follower));
        Ok(KafkaMember {
            membership,
            commands,
            committer,
            left: Some(left),
        })
    }
}

impl Follower for Membership {
    fn log_closed(&self) {
        self.stop(LogError::Closed);
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.membership.stop(LogError::Closed);
    }
}

impl Member for KafkaMember {
    fn next(&mut self) -> BoxFuture<'_, Result<MemberEvent>> {
        async { self.membership.queue.next().await? }.boxed()
    }

    fn committer(&self) -> Arc<dyn Committer> {
        self.committer.clone()
    }

    fn seek(&mut self, topic: Topic, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            let (answer, answered) = oneshot::channel();
            let seek = Seek {
                topic,
                partition,
                offset,
                deadline: Instant::now() + SEEK_PATIENCE,
                answer,
            };
            self.commands.send(seek).map_err(|_| LogError::Closed)?;
            answered.await.unwrap_or(Err(LogError::Closed))
        }
        .boxed()
    }

    fn leave(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        let left = self.left.take();
        drop(self);
        async move {
            if let Some(left) = left
                && tokio::time::timeout(LEAVE_PATIENCE, left).await.is_err()
            {
                tracing::warn!("a group member is still leaving; its session will time out");
            }
        }
        .boxed()
    }
}
