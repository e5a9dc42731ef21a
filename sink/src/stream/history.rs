//! What lies behind the live tail, read once for all who go through it at the time.
//!
//! The chunks that were made last are kept, those of the tail and those of the history alike:
//! who fell behind together or resumes together finds what the first of them had read. What is
//! not there is read from the log, a chunk at a time, by a reader that stays open for a moment,
//! for whoever goes on from there.

mod recent;
mod source;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{Log, LogError};
use laneway_schemas::Codecs;
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::time::Instant;

use self::recent::Recent;
use self::source::Source;
use super::subscriber::Subscriber;
use crate::event::{Chunk, Filter, TenantKey};
use crate::settings::StreamSettings;

/// How long a reader stays open that nobody goes on with.
const PATIENCE: Duration = Duration::from_secs(1);

/// A tenant's lane. Of a placement: chunks carry its generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Lane {
    tenant: TenantKey,
    generation: u32,
    lane: u32,
}

pub struct History {
    log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    recent: Mutex<Recent>,
    /// One reads a tenant's lane at a time; those who wait find what it has read.
    turns: Mutex<HashMap<Lane, Weak<Turn<()>>>>,
    /// Bounds the readers that are open at a time.
    permits: Arc<Semaphore>,
    /// Open readers, the longest unused first.
    idle: Mutex<VecDeque<(Instant, Source)>>,
}

impl History {
    pub fn new(log: Arc<dyn Log>, codecs: Arc<Codecs>, settings: &StreamSettings) -> Self {
        History {
            log,
            codecs,
            recent: Mutex::new(Recent::new(settings.history_bytes)),
            turns: Mutex::default(),
            permits: Arc::new(Semaphore::new(settings.history_readers.max(1))),
            idle: Mutex::default(),
        }
    }

    /// A chunk that speaks for the offset, with everything that the subscriber wants from there.
    /// Waits where nothing has been appended there yet.
    pub async fn read(
        &self,
        subscriber: &Subscriber,
        lane: u32,
        at: u64,
    ) -> Result<Arc<Chunk>, LogError> {
        let filter = &subscriber.filter;
        let key = Lane {
            tenant: subscriber.tenant,
            generation: subscriber.generation,
            lane,
        };
        let known = || lock(&self.recent).get(&key, at, filter.types());
        if let Some(chunk) = known() {
            return Ok(chunk);
        }
        // What is read for a few devices is of no use to others.
        if !filter.all_devices() {
            return self.read_log(&key, at, filter).await;
        }
        let turn = self.turn(key);
        let _turn = turn.lock().await;
        if let Some(chunk) = known() {
            return Ok(chunk);
        }
        let chunk = self.read_log(&key, at, filter).await?;
        lock(&self.recent).put(key, &chunk);
        Ok(chunk)
    }

    /// Keeps a chunk of the tail for those who fall behind it.
    pub fn keep(&self, tenant: TenantKey, generation: u32, chunk: &Arc<Chunk>) {
        let lane = chunk.lane;
        let key = Lane {
            tenant,
            generation,
            lane,
        };
        lock(&self.recent).put(key, chunk);
    }

    /// Closes readers that nobody goes on with.
    pub fn sweep(&self) {
        let now = Instant::now();
        lock(&self.idle).retain(|(since, _)| now - *since < PATIENCE);
        lock(&self.turns).retain(|_, turn| turn.strong_count() > 0);
    }

    async fn read_log(&self, key: &Lane, at: u64, filter: &Filter) -> Result<Arc<Chunk>, LogError> {
        let mut source = self.source(key.lane, at).await?;
        let chunk = source.chunk(key, filter, &self.codecs).await?;
        lock(&self.idle).push_back((Instant::now(), source));
        Ok(Arc::new(chunk))
    }

    /// A reader that stands at the offset.
    async fn source(&self, lane: u32, at: u64) -> Result<Source, LogError> {
        let permit = loop {
            {
                let mut idle = lock(&self.idle);
                let there = idle.iter().position(|(_, s)| s.is_at(lane, at));
                if let Some((_, source)) = there.and_then(|i| idle.remove(i)) {
                    return Ok(source);
                }
            }
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            if lock(&self.idle).pop_front().is_none() {
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                break permit.map_err(|_| LogError::Closed)?;
            }
        };
        Source::open(&*self.log, lane, at, permit).await
    }

    fn turn(&self, key: Lane) -> Arc<Turn<()>> {
        let mut turns = lock(&self.turns);
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
