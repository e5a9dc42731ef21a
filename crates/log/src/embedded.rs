//! The embedded log, on `redb`: one database file, one writer.
//!
//! The way of a record: [`queue`] → [`writer`] (one transaction and one sync for all that
//! waits) → [`partition`] (visible to readers, the newest from memory) → [`cursor`] →
//! a reader or a group's member.

mod backup;
mod cursor;
mod group;
mod lane;
mod lookup;
mod member;
mod partition;
mod queue;
mod reader;
mod retention;
mod store;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use redb::ReadableTable;
use tokio::sync::watch;

use crate::batch::Damage;
use crate::{
    Bounds, GroupSpec, Log, LogConfig, LogError, Member, Reader, Records, Result, Topic, TopicSets,
};
use group::Groups;
use lane::Lane;
use partition::Partition;
use queue::{Queue, Work};
use store::{OFFSETS, PARTITIONS, Row, Store};

/// Bounds of the newest records kept in memory: over all partitions, and of one.
const TAIL_BYTES: usize = 64 << 20;
const LANE_TAIL_BYTES: std::ops::RangeInclusive<usize> = (64 << 10)..=(2 << 20);

/// A log in a folder of this machine, for one process.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the writer, readers and members share.
struct Shared {
    max_record_bytes: usize,
    sets: TopicSets,
    /// Of each topic, where its partitions begin.
    first: [usize; Topic::ALL.len()],
    /// Of all topics, one after another.
    partitions: Vec<Partition>,
    store: Store,
    queue: Queue,
    groups: Groups,
    /// Counts commits: wakes readers.
    commits: watch::Sender<u64>,
    closed: AtomicBool,
    health: Mutex<Option<LogError>>,
}

impl EmbeddedLog {
    /// Opens the log in `config.embedded.path`. Blocks: after a kill, for some seconds.
    pub fn open(config: &LogConfig) -> Result<Self> {
        if config.partitions == 0 {
            return Err(LogError::Config(
                "log.partitions is 0; it has to be 1 or more".into(),
            ));
        }
        let sets = TopicSets::of(config);
        let store = Store::open(config, &sets)?;
        let groups = Groups::new(Duration::from_millis(config.session_timeout_ms));
        let rows = load(&store, &groups, &sets)?;
        let kept = rows
            .iter()
            .filter(|(topic, ..)| !topic.compacted())
            .count()
            .max(1);
        let tail = (TAIL_BYTES / kept).clamp(*LANE_TAIL_BYTES.start(), *LANE_TAIL_BYTES.end());
        let shared = Arc::new(Shared {
            max_record_bytes: config.max_record_bytes,
            first: Topic::ALL.map(|topic| {
                let before = &Topic::ALL[..topic as usize];
                before.iter().map(|t| sets.partitions(*t) as usize).sum()
            }),
            sets,
            partitions: rows
                .iter()
                .map(|(t, p, row)| Partition::new(*t, *p, row, tail))
                .collect(),
            store,
            queue: Queue::new(config.max_queued_bytes),
            groups,
            commits: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            health: Mutex::new(None),
        });
        let lanes: Vec<_> = rows
            .iter()
            .map(|(t, p, row)| Lane::new(*t, *p, *row))
            .collect();
        let sweep = retention::Sweep::new(config, lanes.len());
        let writer = writer::Writer::new(Arc::clone(&shared), lanes, sweep)?;
        let ending = Ending(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || {
                let _ending = ending;
                writer.run();
            })
            .map_err(|e| LogError::Fatal(format!("cannot start the log's writer thread: {e}")))?;
        Ok(EmbeddedLog {
            shared,
            writer: Arc::new(Mutex::new(Some(thread))),
        })
    }
}

/// Closes the log when the writer has ended, in whichever way: nobody may wait for it in vain.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.close();
        self.0.store.close();
    }
}

fn load(store: &Store, groups: &Groups, sets: &TopicSets) -> Result<Vec<(Topic, u32, Row)>> {
    const DOING: &str = "opening the log";
    let fail = |e: redb::Error| store.error(DOING, e);
    let tx = store.read(DOING)?;
    let table = tx.open_table(PARTITIONS).map_err(|e| fail(e.into()))?;
    let mut rows = Vec::new();
    for topic in Topic::ALL {
        for partition in 0..sets.partitions(topic) {
            let row = table
                .get(store::lane_key(topic, partition))
                .map_err(|e| fail(e.into()))?;
            rows.push((
                topic,
                partition,
                row.map(|r| Row::unpack(&r.value())).unwrap_or_default(),
            ));
        }
    }
    let offsets = tx.open_table(OFFSETS).map_err(|e| fail(e.into()))?;
    for entry in offsets.iter().map_err(|e| fail(e.into()))? {
        let (key, offset) = entry.map_err(|e| fail(e.into()))?;
        let (group, topic, partition) = key.value();
        if let Some(topic) = Topic::ALL.into_iter().find(|t| *t as u8 == topic) {
            groups.restore(group, (topic, partition, offset.value()));
        }
    }
    Ok(rows)
}

impl Shared {
    /// Of a partition that is there.
    fn index(&self, topic: Topic, partition: u32) -> usize {
        self.first[topic as usize] + partition as usize
    }

    fn partition(&self, topic: Topic, partition: u32) -> Result<&Partition> {
        let count = self.sets.partitions(topic);
        if partition >= count {
            return Err(LogError::Config(format!(
                "there is no {topic}[{partition}]: it has {count} partitions"
            )));
        }
        Ok(&self.partitions[self.index(topic, partition)])
    }

    /// Whether records may be appended.
    fn check(&self, records: &Records) -> Result<()> {
        for record in records.raw() {
            self.partition(record.topic, record.partition)?;
            if record.bytes() > self.max_record_bytes {
                return Err(LogError::TooLarge {
                    topic: record.topic,
                    bytes: record.bytes(),
                    limit: self.max_record_bytes,
                });
            }
        }
        Ok(())
    }

    fn damaged(&self, topic: Topic, partition: u32, last: u64, damage: Damage) -> LogError {
        LogError::Corrupt {
            at: format!(
                "{}, {topic}[{partition}], the chunk that ends at {last}",
                self.store.folder().display()
            ),
            reason: damage.0.into(),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.queue.close();
        self.commits.send_modify(|_| {});
    }

    fn set_health(&self, error: Option<&LogError>) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = error.cloned();
    }
}

/// Runs a read off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|e| {
        Err(LogError::Fatal(format!(
            "a read of the embedded log died: {e}"
        )))
    })
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "retention only: how old records are by their writers' clocks"
)]
fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Log for EmbeddedLog {
    fn sets(&self) -> &TopicSets {
        &self.shared.sets
    }

    fn max_record_bytes(&self) -> usize {
        self.shared.max_record_bytes
    }

    fn append(&self, records: Records) -> BoxFuture<'static, Result<()>> {
        let queued = self
            .shared
            .check(&records)
            .and_then(|()| self.shared.queue.push(Work::Append(records)));
        Box::pin(async { queued?.await.unwrap_or(Err(LogError::Closed)) })
    }

    fn join(&self, spec: GroupSpec) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        let member = member::EmbeddedMember::join(&self.shared, spec);
        Box::pin(std::future::ready(
            member.map(|m| Box::new(m) as Box<dyn Member>),
        ))
    }

    fn reader(
        &self,
        topic: Topic,
        from: Vec<(u32, u64)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        let reader = reader::EmbeddedReader::new(&self.shared, topic, from);
        Box::pin(std::future::ready(
            reader.map(|r| Box::new(r) as Box<dyn Reader>),
        ))
    }

    fn bounds(&self, topic: Topic, partition: u32) -> BoxFuture<'_, Result<Bounds>> {
        Box::pin(std::future::ready(
            self.shared
                .partition(topic, partition)
                .map(Partition::bounds),
        ))
    }

    fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<u64>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking(move || {
            lookup::offset_at(&shared, topic, partition, timestamp_ms)
        }))
    }

    fn committed(&self, group: &str, topic: Topic) -> BoxFuture<'_, Result<Vec<Option<u64>>>> {
        let all = 0..self.partitions(topic);
        let sets = &self.shared.sets;
        let offsets = all
            .map(|p| {
                let group = sets.within(sets.place(p).0, group);
                self.shared.groups.committed(&group, topic, p)
            })
            .collect();
        Box::pin(std::future::ready(Ok(offsets)))
    }

    fn health(&self) -> Result<()> {
        if self.shared.is_closed() {
            return Err(LogError::Closed);
        }
        let health = self
            .shared
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        health.clone().map_or(Ok(()), Err)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.shared.close();
        let writer = Arc::clone(&self.writer);
        Box::pin(async move {
            // Waits until the file is closed, so that it can be opened anew.
            let _ = tokio::task::spawn_blocking(move || wait_for(&writer)).await;
        })
    }

    fn backup(&self, to: PathBuf) -> BoxFuture<'_, Result<()>> {
        let now = self.shared.store.read(backup::DOING);
        Box::pin(blocking(move || backup::copy(&now?, &to)))
    }
}

fn wait_for(writer: &Mutex<Option<JoinHandle<()>>>) {
    if let Some(thread) = writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = thread.join();
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.close();
        wait_for(&self.writer);
    }
}
