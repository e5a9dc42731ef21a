//! The live tail: one group-less reader for the whole process, on the partitions that its
//! subscribers need. Each record is encoded once, and only if anyone wants it.

mod dispatch;
mod tail;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use laneway_log::{Log, Topic};
use tokio::sync::{mpsc, oneshot};

use super::history::History;
use super::subscriber::Subscriber;

pub use tail::Tail;

/// Joins waiting at a time; more wait in line.
const COMMANDS: usize = 1024;

/// Takes part in the tail from here on.
pub(super) struct Join {
    subscriber: Arc<Subscriber>,
    /// Where to begin in lanes that nobody reads yet.
    cursors: Vec<(u32, u64)>,
    reply: oneshot::Sender<Joined>,
}

/// What becomes of an attempt to join.
pub enum Joined {
    /// From these offsets on, the queue has everything.
    At(Vec<(u32, u64)>),
    /// Nobody reads these lanes yet: say where to begin in them.
    Unread(Vec<u32>),
}

/// The tail's next offset in each partition that it reads.
pub(super) struct Tails(Box<[AtomicU64]>);

/// Of a partition that nobody reads.
const UNREAD: u64 = u64::MAX;

impl Tails {
    fn get(&self, partition: u32) -> Option<u64> {
        let next = self.0.get(partition as usize)?.load(Ordering::Acquire);
        (next != UNREAD).then_some(next)
    }

    /// Of a partition that is read.
    fn next(&self, partition: u32) -> u64 {
        self.get(partition).unwrap_or(0)
    }

    fn clear(&self, partition: u32) {
        self.set(partition, UNREAD);
    }

    fn set(&self, partition: u32, next: u64) {
        if let Some(tail) = self.0.get(partition as usize) {
            tail.store(next, Ordering::Release);
        }
    }
}

/// The subscribers' end. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    joins: mpsc::Sender<Join>,
    tails: Arc<Tails>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the live tail has stopped; connect again")]
pub struct HubStopped;

impl Hub {
    /// The hub and its reading end, which somebody must run.
    pub fn new(log: &Arc<dyn Log>, history: Arc<History>) -> (Self, Tail) {
        let partitions = log.partitions(Topic::TenantStreams);
        let tails = Arc::new(Tails(
            (0..partitions).map(|_| AtomicU64::new(UNREAD)).collect(),
        ));
        let (joins, receiver) = mpsc::channel(COMMANDS);
        let tail = Tail::new(Arc::clone(log), history, Arc::clone(&tails), receiver);
        (Hub { joins, tails }, tail)
    }

    /// Joins the subscriber in all of its lanes at once, and says from which offset on the
    /// queue has everything: what lies between its cursor and that offset is its own to read.
    /// Lanes that are read already need no cursor.
    pub async fn join(
        &self,
        subscriber: Arc<Subscriber>,
        cursors: Vec<(u32, u64)>,
    ) -> Result<Joined, HubStopped> {
        let (reply, answer) = oneshot::channel();
        self.joins
            .send(Join {
                subscriber,
                cursors,
                reply,
            })
            .await
            .map_err(|_| HubStopped)?;
        answer.await.map_err(|_| HubStopped)
    }

    /// Everything below has been offered to whoever has joined in the partition. `None` where
    /// nobody has.
    pub fn tail(&self, partition: u32) -> Option<u64> {
        self.tails.get(partition)
    }
}
