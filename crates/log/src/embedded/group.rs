//! Groups: who owns which partitions, under which epoch.
//!
//! A rebalance is eager: all members give up what they own, and once all have (or have been
//! expelled for their silence) and no accepted unit is still on its way to the disk, the
//! partitions are assigned anew. So a new owner always starts at the old one's last commit.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::{Epoch, GroupSpec, LogError, Result, Topic};

/// Names a member's handle. A member that comes back after having been expelled keeps it.
#[derive(Clone, Debug)]
pub(super) struct MemberId {
    pub(super) group: Arc<str>,
    pub(super) instance: Arc<str>,
    pub(super) handle: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Assigned { partitions: Vec<u32>, epoch: Epoch },
    Revoked { partitions: Vec<u32>, round: u64 },
}

/// What a member finds in its inbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Polled {
    Notice(Notice),
    Nothing,
    /// It was silent for too long; it may join again.
    Expelled,
    /// Another member has its name; it may not.
    Replaced,
}

pub(super) type Offset = (Topic, u32, u64);

pub(super) struct Groups {
    session_timeout: Duration,
    handles: AtomicU64,
    groups: Mutex<HashMap<Arc<str>, Group>>,
}

#[derive(Default)]
struct Group {
    topics: Vec<Topic>,
    /// What it shares out.
    lanes: Range<u32>,
    committed: HashMap<(Topic, u32), u64>,
    slots: BTreeMap<Arc<str>, Slot>,
    epoch: u64,
    /// Accepted units that the writer has not finished.
    in_flight: usize,
    /// Under way, until then at the latest.
    rebalance: Option<Instant>,
    round: u64,
}

struct Slot {
    handle: u64,
    owned: Vec<u32>,
    /// Under which it may commit.
    epoch: Option<Epoch>,
    /// Has a revocation to answer.
    revoking: bool,
    inbox: VecDeque<Notice>,
    wake: Arc<Notify>,
}

impl Groups {
    pub(super) fn new(session_timeout: Duration) -> Self {
        Groups {
            session_timeout,
            handles: AtomicU64::new(1),
            groups: Mutex::new(HashMap::new()),
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Arc<str>, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a committed offset, as stored.
    pub(super) fn restore(&self, group: &str, (topic, partition, offset): Offset) {
        self.groups()
            .entry(group.into())
            .or_default()
            .committed
            .insert((topic, partition), offset);
    }

    pub(super) fn committed(&self, group: &str, topic: Topic, partition: u32) -> Option<u64> {
        self.groups()
            .get(group)?
            .committed
            .get(&(topic, partition))
            .copied()
    }

    pub(super) fn new_member(&self, spec: &GroupSpec) -> MemberId {
        MemberId {
            group: spec.group.as_str().into(),
            instance: spec.instance.as_str().into(),
            handle: self.handles.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Joins, or joins again. A live member of the same name is fenced from here on.
    pub(super) fn join(
        &self,
        id: &MemberId,
        topics: &[Topic],
        lanes: Range<u32>,
        wake: &Arc<Notify>,
    ) -> Result<()> {
        let mut groups = self.groups();
        let group = groups.entry(Arc::clone(&id.group)).or_default();
        group.lanes = lanes;
        let mut sorted = topics.to_vec();
        sorted.sort_unstable();
        if group.slots.is_empty() {
            group.topics = sorted;
        } else if group.topics != sorted {
            return Err(LogError::Config(format!(
                "member {} joins group {} for {sorted:?}, its other members are in it for {:?}; \
                 all members of a group read the same topics",
                id.instance, id.group, group.topics
            )));
        }
        let slot = Slot {
            handle: id.handle,
            owned: Vec::new(),
            epoch: None,
            revoking: false,
            inbox: VecDeque::new(),
            wake: Arc::clone(wake),
        };
        if let Some(old) = group.slots.insert(Arc::clone(&id.instance), slot) {
            old.wake.notify_one();
        }
        group.rebalance(self.session_timeout);
        Ok(())
    }

    pub(super) fn poll(&self, id: &MemberId) -> Polled {
        let mut groups = self.groups();
        match groups
            .get_mut(&id.group)
            .and_then(|g| g.slots.get_mut(&id.instance))
        {
            None => Polled::Expelled,
            Some(slot) if slot.handle != id.handle => Polled::Replaced,
            Some(slot) => slot
                .inbox
                .pop_front()
                .map_or(Polled::Nothing, Polled::Notice),
        }
    }

    /// The member has flushed what it was told to give up.
    pub(super) fn revoked(&self, id: &MemberId, round: u64) {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&id.group) else {
            return;
        };
        let current = group.round == round;
        let Some(slot) = group.slots.get_mut(&id.instance) else {
            return;
        };
        if !current || slot.handle != id.handle || !slot.revoking {
            return;
        }
        slot.give_up();
        group.settle();
    }

    pub(super) fn leave(&self, id: &MemberId) {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&id.group) else {
            return;
        };
        if group
            .slots
            .get(&id.instance)
            .is_some_and(|slot| slot.handle == id.handle)
        {
            group.slots.remove(&id.instance);
            group.rebalance(self.session_timeout);
        }
    }

    /// Whether a unit may be applied. Every admitted unit is [finished](Groups::finish).
    pub(super) fn admit(&self, id: &MemberId, epoch: Epoch, offsets: &[Offset]) -> Result<()> {
        let fenced = |reason: String| {
            Err(LogError::Fenced {
                doing: "committing a unit",
                reason,
            })
        };
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&id.group) else {
            return fenced(format!("group {} has no members", id.group));
        };
        let name = &id.instance;
        match group.slots.get(name) {
            None => fenced(format!("{name} is no longer a member of {}", id.group)),
            Some(slot) if slot.handle != id.handle => fenced(format!(
                "another member of {} has the name {name}",
                id.group
            )),
            Some(slot) if slot.epoch != Some(epoch) => fenced(format!(
                "epoch {} of {name} in {} is over",
                epoch.0, id.group
            )),
            Some(slot) => match offsets.iter().find(|(_, p, _)| !slot.owned.contains(p)) {
                Some((topic, partition, _)) => fenced(format!(
                    "{name} in {} does not own {topic}[{partition}]",
                    id.group
                )),
                None => {
                    group.in_flight += 1;
                    Ok(())
                }
            },
        }
    }

    /// An admitted unit is durable, or has failed: then nothing of this epoch may follow it.
    pub(super) fn finish(&self, id: &MemberId, epoch: Epoch, offsets: &[Offset], durable: bool) {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(&id.group) else {
            return;
        };
        group.in_flight -= 1;
        if durable {
            group
                .committed
                .extend(offsets.iter().map(|&(t, p, o)| ((t, p), o)));
        } else if let Some(slot) = group.slots.get_mut(&id.instance) {
            slot.end_epoch(id.handle, epoch);
        }
        group.settle();
    }

    /// Nothing may follow a unit that was refused before it came to the writer.
    pub(super) fn fail(&self, id: &MemberId, epoch: Epoch) {
        let mut groups = self.groups();
        if let Some(slot) = groups
            .get_mut(&id.group)
            .and_then(|g| g.slots.get_mut(&id.instance))
        {
            slot.end_epoch(id.handle, epoch);
        }
    }

    /// Expels members that have not answered in time. Returns when to look again.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (name, group) in self.groups().iter_mut() {
            let Some(deadline) = group.rebalance else {
                continue;
            };
            if deadline > now {
                next = Some(next.map_or(deadline, |n: Instant| n.min(deadline)));
                continue;
            }
            group.slots.retain(|instance, slot| {
                if slot.revoking {
                    tracing::warn!(group = %name, member = %instance, "expelled a member that did not give up its partitions in time");
                    slot.wake.notify_one();
                }
                !slot.revoking
            });
            group.settle();
        }
        next
    }
}

impl Slot {
    fn give_up(&mut self) {
        self.revoking = false;
        self.owned.clear();
        self.epoch = None;
    }

    fn end_epoch(&mut self, handle: u64, epoch: Epoch) {
        if self.handle == handle && self.epoch == Some(epoch) {
            self.epoch = None;
        }
    }
}

impl Group {
    fn rebalance(&mut self, timeout: Duration) {
        if self.rebalance.is_none() {
            self.rebalance = Some(Instant::now() + timeout);
            self.round += 1;
            let round = self.round;
            for slot in self.slots.values_mut() {
                // An assignment that the member has not seen need not be revoked.
                let unseen = !slot.inbox.is_empty();
                slot.inbox.clear();
                if unseen || slot.owned.is_empty() {
                    slot.give_up();
                } else {
                    slot.revoking = true;
                    slot.inbox.push_back(Notice::Revoked {
                        partitions: slot.owned.clone(),
                        round,
                    });
                    slot.wake.notify_one();
                }
            }
        }
        self.settle();
    }

    /// Assigns once nobody holds anything any more.
    fn settle(&mut self) {
        if self.rebalance.is_none() || self.in_flight > 0 || self.slots.values().any(|s| s.revoking)
        {
            return;
        }
        self.rebalance = None;
        self.epoch += 1;
        let members = u32::try_from(self.slots.len()).expect("few members");
        for (index, slot) in (0..members).zip(self.slots.values_mut()) {
            slot.owned = range_of(index, members, &self.lanes);
            let epoch = Epoch(self.epoch);
            slot.epoch = Some(epoch);
            slot.inbox.push_back(Notice::Assigned {
                partitions: slot.owned.clone(),
                epoch,
            });
            slot.wake.notify_one();
        }
    }
}

/// The `index`th of `members` contiguous ranges over `lanes`, as even as can be.
fn range_of(index: u32, members: u32, lanes: &Range<u32>) -> Vec<u32> {
    let count = lanes.end - lanes.start;
    let (each, more) = (count / members, count % members);
    let start = lanes.start + index * each + index.min(more);
    (start..start + each + u32::from(index < more)).collect()
}

#[cfg(test)]
mod tests;
