//! The log on Apache Kafka, through `rdkafka`.
//!
//! Every consumer is polled by a plain thread of its own, and hands what it finds to tasks
//! through a bounded queue. Appends share one idempotent producer, which a task polls; each group
//! member has a consumer and a transactional producer; questions about offsets share cached clients.

mod committer;
mod epochs;
mod errors;
mod health;
mod member;
mod pending;
mod poller;
mod producer;
mod query;
mod queue;
mod reader;
mod rebalance;
mod records;
mod retry;
mod settings;
mod topics;
mod unit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::health::Health;
use self::member::KafkaMember;
use self::producer::Appender;
use self::query::Query;
use self::reader::KafkaReader;
use self::settings::Settings;
use self::topics::Names;
use crate::{
    Bounds, GroupSpec, Log, LogConfig, LogError, Member, Reader, Records, Result, Topic, TopicSets,
};

/// A log on a Kafka cluster.
pub struct KafkaLog {
    shared: Arc<Shared>,
}

/// What members and readers need of the log that they belong to.
struct Shared {
    config: LogConfig,
    settings: Settings,
    names: Names,
    health: Arc<Health>,
    query: Query,
    appender: Arc<Appender>,
    closed: AtomicBool,
    /// Told when the log closes.
    followers: Mutex<Vec<Weak<dyn Follower>>>,
}

/// What ends with the log.
trait Follower: Send + Sync {
    fn log_closed(&self);
}

impl KafkaLog {
    /// Connects, and creates or verifies the topics.
    pub async fn open(config: &LogConfig) -> Result<Self> {
        let settings = Settings::new(config)?;
        let names = settings.names().clone();
        let health = Arc::new(Health::default());
        let query = Query::open(&settings, &names, &health)?;
        topics::prepare(config, &settings, &names, &query).await?;
        let appender = Arc::new(Appender::open(
            &settings,
            &names,
            &health,
            config.max_queued_bytes,
        )?);
        Ok(KafkaLog {
            shared: Arc::new(Shared {
                config: config.clone(),
                settings,
                names,
                health,
                query,
                appender,
                closed: AtomicBool::new(false),
                followers: Mutex::default(),
            }),
        })
    }
}

impl Shared {
    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            Err(LogError::Closed)
        } else {
            Ok(())
        }
    }

    fn partition_exists(&self, topic: Topic, partition: u32) -> Result<()> {
        let count = self.names.sets().partitions(topic);
        if partition < count {
            return Ok(());
        }
        Err(LogError::Topic {
            topic: self.names.of_set(topic, 0).to_owned(),
            reason: format!("has no partition {partition}; there are {count}"),
        })
    }

    /// Refuses what the brokers would refuse, before anything of it is queued.
    fn admissible(&self, records: &Records) -> Result<()> {
        let limit = self.config.max_record_bytes;
        for record in records.iter() {
            self.partition_exists(record.topic, record.partition)?;
            let bytes = record.key.len()
                + record.value.map_or(0, <[u8]>::len)
                + record.headers.packed().len();
            if bytes > limit {
                return Err(LogError::TooLarge {
                    topic: record.topic,
                    bytes,
                    limit,
                });
            }
        }
        Ok(())
    }

    fn follow(&self, follower: Weak<dyn Follower>) {
        let mut followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        followers.retain(|known| known.strong_count() > 0);
        followers.push(follower);
    }
}

impl Log for KafkaLog {
    fn sets(&self) -> &TopicSets {
        self.shared.names.sets()
    }

    fn max_record_bytes(&self) -> usize {
        self.shared.config.max_record_bytes
    }

    fn append(&self, records: Records) -> BoxFuture<'static, Result<()>> {
        let queued = self
            .shared
            .admissible(&records)
            .and_then(|()| self.shared.appender.append(&records));
        match queued {
            Ok(acknowledged) => acknowledged.boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn join(&self, spec: GroupSpec) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        async move {
            self.shared.open()?;
            let member = KafkaMember::join(&self.shared, spec).await?;
            Ok(Box::new(member) as Box<dyn Member>)
        }
        .boxed()
    }

    fn reader(
        &self,
        topic: Topic,
        from: Vec<(u32, u64)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        async move {
            self.shared.open()?;
            let reader = KafkaReader::open(&self.shared, topic, &from)?;
            Ok(Box::new(reader) as Box<dyn Reader>)
        }
        .boxed()
    }

    fn bounds(&self, topic: Topic, partition: u32) -> BoxFuture<'_, Result<Bounds>> {
        async move {
            self.shared.open()?;
            self.shared.partition_exists(topic, partition)?;
            self.shared.query.bounds(topic, partition).await
        }
        .boxed()
    }

    fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<u64>> {
        async move {
            self.shared.open()?;
            self.shared.partition_exists(topic, partition)?;
            self.shared
                .query
                .offset_at(topic, partition, timestamp_ms)
                .await
        }
        .boxed()
    }

    fn committed(&self, group: &str, topic: Topic) -> BoxFuture<'_, Result<Vec<Option<u64>>>> {
        let group = group.to_owned();
        async move {
            self.shared.open()?;
            self.shared.query.committed(&group, topic).await
        }
        .boxed()
    }

    fn health(&self) -> Result<()> {
        self.shared.open()?;
        self.shared.health.check()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if self.shared.closed.swap(true, Ordering::Relaxed) {
                return;
            }
            let followers = std::mem::take(
                &mut *self
                    .shared
                    .followers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            );
            for follower in followers.iter().filter_map(Weak::upgrade) {
                follower.log_closed();
            }
            let appender = self.shared.appender.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || appender.close_blocking()).await
            {
                tracing::error!(%error, "closing the Kafka producer failed");
            }
        }
        .boxed()
    }
}
