//! A member of a group, and what commits its units.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot};

use super::Shared;
use super::cursor::Cursor;
use super::group::{MemberId, Notice, Polled};
use super::queue::Work;
use crate::{
    Committer, GroupSpec, GroupStart, LogError, Member, MemberEvent, Result, RevokeDone, Topic,
    Unit,
};

pub(super) struct EmbeddedMember {
    shared: Arc<Shared>,
    spec: GroupSpec,
    id: MemberId,
    wake: Arc<Notify>,
    cursor: Cursor,
    /// What it was last told that it owns.
    held: Vec<u32>,
}

impl EmbeddedMember {
    pub(super) fn join(shared: &Arc<Shared>, mut spec: GroupSpec) -> Result<Self> {
        if spec.topics.is_empty() || spec.topics.iter().any(|t| !t.co_partitioned()) {
            return Err(LogError::Config(format!(
                "group {} cannot be joined for {:?}: it takes one or more topics of equal partition counts",
                spec.group, spec.topics
            )));
        }
        if shared.is_closed() {
            return Err(LogError::Closed);
        }
        spec.group = shared.sets.within(spec.set, &spec.group);
        let id = shared.groups.new_member(&spec);
        let wake = Arc::new(Notify::new());
        let lanes = shared.sets.lanes(spec.set);
        shared.groups.join(&id, &spec.topics, lanes, &wake)?;
        // The writer watches over the time that the others have to answer.
        shared.queue.nudge();
        let cursor = Cursor::new(Arc::clone(shared));
        Ok(EmbeddedMember {
            shared: Arc::clone(shared),
            spec,
            id,
            wake,
            cursor,
            held: Vec::new(),
        })
    }

    /// Turns what the group says into an event, or has nothing to say.
    fn hear(&mut self) -> Result<Option<MemberEvent>> {
        match self.shared.groups.poll(&self.id) {
            Polled::Nothing => Ok(None),
            Polled::Notice(Notice::Assigned { partitions, epoch }) => {
                self.cursor.clear();
                for &topic in &self.spec.topics {
                    for &partition in &partitions {
                        self.cursor
                            .set(topic, partition, self.start_of(topic, partition)?);
                    }
                }
                self.held.clone_from(&partitions);
                Ok(Some(MemberEvent::Assigned { partitions, epoch }))
            }
            Polled::Notice(Notice::Revoked { partitions, round }) => {
                self.cursor.clear();
                let (done, answered) = oneshot::channel();
                let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
                tokio::spawn(async move {
                    let _ = answered.await;
                    shared.groups.revoked(&id, round);
                });
                Ok(Some(MemberEvent::Revoked {
                    partitions,
                    done: RevokeDone(Some(done)),
                }))
            }
            Polled::Expelled | Polled::Replaced if !self.held.is_empty() => {
                self.cursor.clear();
                Ok(Some(MemberEvent::Lost {
                    partitions: std::mem::take(&mut self.held),
                }))
            }
            Polled::Expelled => {
                let (shared, spec) = (&self.shared, &self.spec);
                let lanes = shared.sets.lanes(spec.set);
                shared
                    .groups
                    .join(&self.id, &spec.topics, lanes, &self.wake)?;
                self.shared.queue.nudge();
                Ok(None)
            }
            Polled::Replaced => Err(LogError::Fenced {
                doing: "consuming",
                reason: format!(
                    "another member of {} has joined as {}; give every live member a name of its own",
                    self.id.group, self.id.instance
                ),
            }),
        }
    }

    fn start_of(&self, topic: Topic, partition: u32) -> Result<u64> {
        let bounds = self.shared.partition(topic, partition)?.bounds();
        Ok(
            match (
                self.shared
                    .groups
                    .committed(&self.spec.group, topic, partition),
                self.spec.start,
            ) {
                (Some(committed), _) => committed,
                (None, GroupStart::Earliest) => bounds.earliest,
                (None, GroupStart::Latest) => bounds.end,
            },
        )
    }

    /// Records that retention has removed before they were read cannot be waited for.
    fn skip_removed(&mut self, error: LogError) -> Result<()> {
        match error {
            LogError::OutOfRange {
                topic,
                partition,
                offset,
                earliest,
                ..
            } if offset < earliest => {
                tracing::warn!(
                    group = %self.id.group, %topic, partition, offset, earliest,
                    "retention has removed records that the group had not read; reading on behind them"
                );
                self.cursor.set(topic, partition, earliest);
                Ok(())
            }
            other => Err(other),
        }
    }
}

impl Member for EmbeddedMember {
    fn next(&mut self) -> BoxFuture<'_, Result<MemberEvent>> {
        Box::pin(async move {
            loop {
                if self.shared.is_closed() {
                    return Err(LogError::Closed);
                }
                if let Some(event) = self.hear()? {
                    return Ok(event);
                }
                let wake = Arc::clone(&self.wake);
                tokio::select! {
                    biased;
                    () = wake.notified() => {}
                    batch = self.cursor.next(false) => match batch {
                        Ok(batch) => return Ok(MemberEvent::Records(batch)),
                        Err(error) => self.skip_removed(error)?,
                    },
                }
            }
        })
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(EmbeddedCommitter {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
        })
    }

    fn seek(&mut self, topic: Topic, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>> {
        let result = if self.cursor.has(topic, partition) {
            self.cursor.set(topic, partition, offset);
            Ok(())
        } else {
            Err(LogError::Fenced {
                doing: "seeking",
                reason: format!(
                    "{topic}[{partition}] is not assigned to {} now",
                    self.id.instance
                ),
            })
        };
        Box::pin(std::future::ready(result))
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, ()> {
        // Dropping it leaves.
        drop(self);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        self.shared.groups.leave(&self.id);
        self.shared.queue.nudge();
    }
}

struct EmbeddedCommitter {
    shared: Arc<Shared>,
    id: MemberId,
}

impl Committer for EmbeddedCommitter {
    fn commit(&self, unit: Unit) -> BoxFuture<'static, Result<()>> {
        let epoch = unit.epoch;
        let offsets = unit
            .offsets
            .iter()
            .try_for_each(|&(t, p, _)| self.shared.partition(t, p).map(|_| ()));
        let queued = offsets
            .and_then(|()| self.shared.check(&unit.records))
            .and_then(|()| self.shared.queue.push(Work::Unit(self.id.clone(), unit)));
        match queued {
            Ok(answer) => Box::pin(async { answer.await.unwrap_or(Err(LogError::Closed)) }),
            Err(error) => {
                self.shared.groups.fail(&self.id, epoch);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}
