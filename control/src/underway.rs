//! What is under way: whether all that was accepted before a time has been processed, and all
//! that was derived before a time has been written. What is erased earlier would come back.
//!
//! The log tells. In a lane, the first record of the time or a later one is the *barrier*, and
//! the end of the lane where there is none; a group that has come to it has read all before. A
//! group that runs nowhere has read what has expired.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use laneway_log::groups::{Group, METERING, PROCESSOR};
use laneway_log::{Log, LogError, Topic};
use laneway_tenancy::Placement;

use crate::erasing::{Keys, Of};

/// Read what was accepted, and write what comes of it and who has sent it.
pub(crate) const OF_ACCEPTED: [Group; 2] = [PROCESSOR, METERING];
/// A group that is no further from a barrier may never come to it: what ends a unit of work has an
/// offset, but is no record. What lies between is read.
const NEAR: u64 = 100;
/// How long reading that may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A group that has not come to a barrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) group: &'static str,
    topic: Topic,
    lane: u32,
    at: u64,
    barrier: u64,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Behind {
            group,
            topic,
            lane,
            at,
            barrier,
        } = self;
        write!(
            f,
            "the group {group} is at {at} of {barrier} in lane {lane} of {topic}"
        )
    }
}

/// The first of the groups, if any, that has not read all that topics have of somebody from before
/// a time.
pub(crate) async fn behind(
    log: &dyn Log,
    of: Of<'_>,
    placement: &Placement,
    groups: &[Group],
    before_us: i64,
) -> anyhow::Result<Option<Behind>> {
    // Of that millisecond, all.
    let before_ms = before_us.div_euclid(1000) + 1;
    let (lanes, keys) = (of.lanes(placement), of.keys());
    for group in groups {
        for topic in group.topics.iter().copied() {
            let come = (group.name, topic);
            let found = first(log, come, &lanes, &keys, before_ms).await;
            let found =
                found.with_context(|| format!("asking how far {} is in {topic}", group.name))?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// The first lane in which the group has not come to the barrier.
async fn first(
    log: &dyn Log,
    (group, topic): (&'static str, Topic),
    lanes: &[u32],
    keys: &Keys,
    before_ms: i64,
) -> Result<Option<Behind>, LogError> {
    let committed = log.committed(group, topic).await?;
    for lane in lanes.iter().copied() {
        // Asked first: what is committed by now is below its end.
        let bounds = log.bounds(topic, lane).await?;
        let found = log.offset_at(topic, lane, before_ms).await?;
        let barrier = if found < bounds.last_stable {
            found
        } else {
            found.max(bounds.end)
        };
        let at = committed.get(lane as usize).copied().flatten();
        let at = at.unwrap_or_default().max(bounds.earliest);
        if at >= barrier {
            continue;
        }
        if barrier - at > NEAR || any_between(log, (topic, lane), (at, barrier), keys).await? {
            return Ok(Some(Behind {
                group,
                topic,
                lane,
                at,
                barrier,
            }));
        }
    }
    Ok(None)
}

/// Whether a record with one of the keys lies there, or one may.
async fn any_between(
    log: &dyn Log,
    (topic, lane): (Topic, u32),
    (mut at, to): (u64, u64),
    keys: &Keys,
) -> Result<bool, LogError> {
    let mut reader = log.reader(topic, vec![(lane, at)]).await?;
    while at < to {
        let Ok(batch) = tokio::time::timeout(PATIENCE, reader.next()).await else {
            return Ok(true);
        };
        let batch = batch?;
        let is_its =
            |record: laneway_log::RecordRef<'_>| record.offset < to && keys.has(record.key);
        // At the last stable offset, with a unit open beyond it.
        let stands = batch.is_empty() && batch.next_offset() <= at;
        if stands || batch.iter().any(is_its) {
            return Ok(true);
        }
        at = at.max(batch.next_offset());
    }
    Ok(false)
}
