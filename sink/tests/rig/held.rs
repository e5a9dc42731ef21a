//! The log, of which one answer is held back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use laneway_log::{Bounds, GroupSpec, Log, Member, Reader, Records, Result, Topic, TopicSets};
use tokio::sync::Notify;

/// Passes everything on, but holds back where a lane of `location-updates` begins and ends, the
/// first time that it is asked.
pub struct HeldLog {
    inner: Arc<dyn Log>,
    lane: u32,
    was_asked: AtomicBool,
    /// The answer is known, and is not given yet.
    pub asked: Notify,
    /// Lets it go.
    pub answer: Notify,
}

impl HeldLog {
    pub fn new(inner: Arc<dyn Log>, lane: u32) -> Self {
        HeldLog {
            inner,
            lane,
            was_asked: AtomicBool::new(false),
            asked: Notify::new(),
            answer: Notify::new(),
        }
    }
}

impl Log for HeldLog {
    fn bounds(&self, topic: Topic, partition: u32) -> BoxFuture<'_, Result<Bounds>> {
        Box::pin(async move {
            let bounds = self.inner.bounds(topic, partition).await;
            let held = (topic, partition) == (Topic::LocationUpdates, self.lane);
            if held && !self.was_asked.swap(true, Ordering::SeqCst) {
                self.asked.notify_one();
                self.answer.notified().await;
            }
            bounds
        })
    }

    fn sets(&self) -> &TopicSets {
        self.inner.sets()
    }

    fn max_record_bytes(&self) -> usize {
        self.inner.max_record_bytes()
    }

    fn append(&self, records: Records) -> BoxFuture<'static, Result<()>> {
        self.inner.append(records)
    }

    fn join(&self, spec: GroupSpec) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        self.inner.join(spec)
    }

    fn reader(
        &self,
        topic: Topic,
        from: Vec<(u32, u64)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.inner.reader(topic, from)
    }

    fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<u64>> {
        self.inner.offset_at(topic, partition, timestamp_ms)
    }

    fn committed(&self, group: &str, topic: Topic) -> BoxFuture<'_, Result<Vec<Option<u64>>>> {
        self.inner.committed(group, topic)
    }

    fn health(&self) -> Result<()> {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn backup(&self, to: PathBuf) -> BoxFuture<'_, Result<()>> {
        self.inner.backup(to)
    }
}
