//! The log, with outages.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use laneway_log::{
    Bounds, GroupSpec, Log, LogError, Member, Reader, Records, Result, Topic, TopicSets,
};

/// What becomes of appends.
pub enum Outage {
    None,
    Fails(LogError),
    NeverAnswers,
}

/// Passes everything on, but for appends during an outage.
pub struct BreakableLog {
    inner: Arc<dyn Log>,
    outage: Mutex<Outage>,
}

impl BreakableLog {
    pub fn new(inner: Arc<dyn Log>) -> Self {
        BreakableLog {
            inner,
            outage: Mutex::new(Outage::None),
        }
    }

    pub fn set(&self, outage: Outage) {
        *self.outage.lock().unwrap() = outage;
    }
}

impl Log for BreakableLog {
    fn sets(&self) -> &TopicSets {
        self.inner.sets()
    }

    fn max_record_bytes(&self) -> usize {
        self.inner.max_record_bytes()
    }

    fn append(&self, records: Records) -> BoxFuture<'static, Result<()>> {
        match &*self.outage.lock().unwrap() {
            Outage::None => self.inner.append(records),
            Outage::Fails(error) => Box::pin(std::future::ready(Err(error.clone()))),
            Outage::NeverAnswers => Box::pin(std::future::pending()),
        }
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

    fn bounds(&self, topic: Topic, partition: u32) -> BoxFuture<'_, Result<Bounds>> {
        self.inner.bounds(topic, partition)
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
}
