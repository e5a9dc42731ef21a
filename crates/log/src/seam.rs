//! The seam itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{Batch, Records, Result, Topic, TopicSets};

/// A log. Cheap to share; every method may be called from any task.
pub trait Log: Send + Sync + 'static {
    fn sets(&self) -> &TopicSets;

    /// In all sets together: partitions are the lanes of [`TopicSets`].
    fn partitions(&self, topic: Topic) -> u32 {
        self.sets().partitions(topic)
    }

    /// Largest key + value + headers of one record; larger ones are [`LogError::TooLarge`].
    fn max_record_bytes(&self) -> usize;

    /// Resolves once every record is durable (acks=all, or synced). Records of one call keep
    /// their order within a partition, and so do calls made one after another by one task.
    /// After an error some of the records may be durable all the same: sending again is safe
    /// where records carry ids. The records are queued before this returns; dropping the future
    /// does not take them back.
    fn append(&self, records: Records) -> BoxFuture<'static, Result<()>>;

    /// Joins a group over the same partitions of all its topics, of one topic set.
    fn join(&self, spec: GroupSpec) -> BoxFuture<'_, Result<Box<dyn Member>>>;

    /// Reads partitions of `topic` from given offsets, on into what is appended later.
    fn reader(&self, topic: Topic, from: Vec<(u32, u64)>)
    -> BoxFuture<'_, Result<Box<dyn Reader>>>;

    fn bounds(&self, topic: Topic, partition: u32) -> BoxFuture<'_, Result<Bounds>>;

    /// The first offset whose record was appended at or after `timestamp_ms`; the last stable
    /// offset where there is none.
    fn offset_at(
        &self,
        topic: Topic,
        partition: u32,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<u64>>;

    /// The committed offsets of a group, by partition, over the sets.
    fn committed(&self, group: &str, topic: Topic) -> BoxFuture<'_, Result<Vec<Option<u64>>>>;

    /// Why the log is out of reach, or `Ok`. Answers from what is known, without waiting.
    fn health(&self) -> Result<()>;

    /// Flushes and closes; later calls are [`LogError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Copies the log as it is at the call, not when the future is polled, into the folder `to`,
    /// while it goes on running. Only a log that lives in a folder itself can.
    fn backup(&self, to: PathBuf) -> BoxFuture<'_, Result<()>> {
        let reason = format!(
            "this log cannot be backed up to {}: only the embedded one is; use the cluster's own means",
            to.display()
        );
        Box::pin(std::future::ready(Err(crate::LogError::Config(reason))))
    }
}

/// Offsets of a partition: records are in `earliest..end`, and readers get those below
/// `last_stable`.
///
/// A unit that was just committed may still be between the two. State is therefore restored up
/// to `end`, as it is after the assignment: only there is all that earlier owners committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub earliest: u64,
    pub last_stable: u64,
    pub end: u64,
}

#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// The group's name; its committed offsets are kept under it. Each topic set has groups of its
    /// own.
    pub group: String,
    /// The topic set whose lanes it shares out.
    pub set: u32,
    /// Partition p of all of them has one owner. All co-partitioned.
    pub topics: Vec<Topic>,
    /// Names this member over its restarts (it becomes part of the Kafka transactional id, so
    /// that a restarted member aborts what it left open). Unique among live members.
    pub instance: String,
    /// Where a partition without a committed offset starts.
    pub start: GroupStart,
    /// How long records may be held back so that more of them are fetched together, where
    /// fetching costs anything.
    pub fetch_wait: Duration,
}

impl GroupSpec {
    /// From the earliest records, each as soon as it is there.
    pub fn new(group: &str, topics: &[Topic], instance: &str) -> Self {
        GroupSpec {
            group: group.to_owned(),
            set: 0,
            topics: topics.to_vec(),
            instance: instance.to_owned(),
            start: GroupStart::Earliest,
            fetch_wait: Duration::ZERO,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    Earliest,
    Latest,
}

/// Of an assignment. A unit of an earlier epoch is refused as fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// What a member is told, in order.
#[derive(Debug)]
pub enum MemberEvent {
    /// These partitions are this member's until they are revoked or lost. Records of them follow,
    /// from the committed offsets. May be empty.
    Assigned { partitions: Vec<u32>, epoch: Epoch },
    /// Records of one topic and partition.
    Records(Batch),
    /// The partitions move once `done` is dropped (or the session times out): finish or give up
    /// the open unit first. Committing under the old epoch is possible until then.
    Revoked {
        partitions: Vec<u32>,
        done: RevokeDone,
    },
    /// The partitions have moved already. Nothing of them can be committed.
    Lost { partitions: Vec<u32> },
}

/// Dropped when the state of revoked partitions is flushed.
#[derive(Debug)]
pub struct RevokeDone(pub Option<oneshot::Sender<()>>);

impl Drop for RevokeDone {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            let _ = done.send(());
        }
    }
}

pub trait Member: Send {
    /// The next event. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Result<MemberEvent>>;

    /// Commits units of this member, also while [`Member::next`] waits.
    fn committer(&self) -> Arc<dyn Committer>;

    /// Goes on reading an assigned partition at `offset` instead: for positions that are kept
    /// elsewhere than in the group. Records read before may still come.
    fn seek(&mut self, topic: Topic, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>>;

    /// Leaves the group at once, so that the others need not wait for the session to time out.
    /// Open units must be finished before.
    fn leave(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Commits one unit at a time, in the order of the calls.
pub trait Committer: Send + Sync {
    /// All or nothing: the unit's records become readable and its offsets committed together.
    /// [`LogError::Fenced`]: nothing of it will ever be readable, the epoch is over. The member
    /// says what comes next: another assignment, or an error where it is over itself.
    /// Any other error: nothing of it is readable, and the member must not go on under this
    /// epoch: drop the member and join anew.
    fn commit(&self, unit: Unit) -> BoxFuture<'static, Result<()>>;
}

/// Records to append and the input offsets that they came from.
#[derive(Debug)]
pub struct Unit {
    pub epoch: Epoch,
    pub records: Records,
    /// (topic, partition, next offset to read)
    pub offsets: Vec<(Topic, u32, u64)>,
}

pub trait Reader: Send {
    /// The next batch of any partition, waiting for one. A batch may be empty (see [`Batch`]):
    /// each partition yields one whenever it has reached the last stable offset. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>>;

    /// Adds a partition, or moves it to another offset.
    fn assign(&mut self, partition: u32, offset: u64) -> Result<()>;

    fn unassign(&mut self, partition: u32) -> Result<()>;
}

/// How far a group is behind, for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub partition: u32,
    pub committed: Option<u64>,
    pub last_stable: u64,
    /// Records between the committed offset (or the earliest one) and the last stable offset.
    pub lag: u64,
}

/// The lag of a group on one topic, partition by partition.
pub async fn group_lag(log: &dyn Log, group: &str, topic: Topic) -> Result<Vec<Lag>> {
    let committed = log.committed(group, topic).await?;
    let mut lags = Vec::with_capacity(committed.len());
    for (partition, committed) in (0u32..).zip(committed) {
        let bounds = log.bounds(topic, partition).await?;
        let from = committed.unwrap_or(bounds.earliest).max(bounds.earliest);
        lags.push(Lag {
            partition,
            committed,
            last_stable: bounds.last_stable,
            lag: bounds.last_stable.saturating_sub(from),
        });
    }
    Ok(lags)
}
