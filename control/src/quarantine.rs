//! What the processor refused: read for the operator, and sent again where it came from.

mod redrive;

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use laneway_log::{Log, Topic};
use laneway_schemas::{Codecs, Quarantined};

pub(crate) use redrive::Redriver;

/// Records that one request looks at, at most.
const MAX_SCAN: usize = 20_000;
/// How long it may read: the log may be out of reach.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Records between two that are wanted are read over up to so many, and jumped over beyond.
const GAP: u64 = 1000;
/// Keys and values that are held at once, about, in bytes.
const MAX_HELD: usize = 8 << 20;

/// Where a record is in the quarantine: `partition:offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (partition, offset) = text.split_once(':')?;
            Some(Place {
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        parse().ok_or_else(|| format!("`{text}` is no position: `partition:offset`"))
    }
}

pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) record: Quarantined,
}

/// Reads the quarantine.
pub(crate) struct Quarantine<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) codecs: &'a Codecs,
}

impl Quarantine<'_> {
    /// The first `limit` records behind `after` that `wanted` wants, partition by partition, and
    /// where to go on, if there may be more.
    pub(crate) async fn list(
        &self,
        partition: Option<u32>,
        after: Option<Place>,
        limit: usize,
        wanted: impl Fn(&Quarantined) -> bool,
    ) -> anyhow::Result<(Vec<Found>, Option<Place>)> {
        let mut found = Vec::new();
        let mut held = 0;
        let next = self
            .walk(partition, after, |place, record| {
                if wanted(&record) {
                    held += size(&record);
                    found.push(Found { place, record });
                }
                if found.len() >= limit || held >= MAX_HELD {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .await?;
        Ok((found, next))
    }

    /// Takes from the front of `places`, which are of one partition and ascending, those that
    /// it has read: all, or as many as may be held at once. What is not there is not found.
    pub(crate) async fn find(&self, places: &mut VecDeque<Place>) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        let mut held = 0;
        while let Some(first) = places.front().copied().filter(|_| held < MAX_HELD) {
            let before = first
                .offset
                .checked_sub(1)
                .map(|offset| Place { offset, ..first });
            let stopped = self
                .walk(Some(first.partition), before, |place, record| {
                    while places.pop_front_if(|p| p.offset < place.offset).is_some() {}
                    if places.pop_front_if(|p| *p == place).is_some() {
                        held += size(&record);
                        found.push(Found { place, record });
                    }
                    let near = |p: &Place| p.offset <= place.offset + GAP;
                    if held < MAX_HELD && places.front().is_some_and(near) {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })
                .await?;
            if stopped.is_none() {
                places.clear();
            }
        }
        Ok(found)
    }

    /// Gives `take` the records behind `after`, of one partition or of one after the other,
    /// until it breaks or enough were looked at; returns the last one then, and `None` at the
    /// end of them all.
    async fn walk(
        &self,
        only: Option<u32>,
        after: Option<Place>,
        mut take: impl FnMut(Place, Quarantined) -> ControlFlow<()>,
    ) -> anyhow::Result<Option<Place>> {
        let walking = async {
            let count = self.log.partitions(Topic::Quarantine);
            let partitions = only.map_or(0..count, |p| p..count.min(p + 1));
            let mut looked = 0;
            for partition in partitions {
                let bounds = self.log.bounds(Topic::Quarantine, partition).await?;
                let from = match after {
                    Some(after) if after.partition > partition => continue,
                    Some(after) if after.partition == partition => {
                        after.offset.saturating_add(1).max(bounds.earliest)
                    }
                    _ => bounds.earliest,
                };
                if from >= bounds.last_stable {
                    continue;
                }
                let mut reader = self
                    .log
                    .reader(Topic::Quarantine, vec![(partition, from)])
                    .await?;
                loop {
                    let batch = reader.next().await?;
                    for record in batch.iter().filter(|r| r.offset < bounds.last_stable) {
                        let place = Place {
                            partition,
                            offset: record.offset,
                        };
                        let value = record.value.unwrap_or_default();
                        let decoded = self.codecs.decode_loading(value).await;
                        let quarantined =
                            decoded.with_context(|| format!("reading quarantine {place}"))?;
                        looked += 1;
                        if take(place, quarantined).is_break() || looked >= MAX_SCAN {
                            return Ok(Some(place));
                        }
                    }
                    if batch.next_offset() >= bounds.last_stable {
                        break;
                    }
                }
            }
            anyhow::Ok(None)
        };
        tokio::time::timeout(MAX_TIME, walking)
            .await
            .context("reading the quarantine took too long")?
    }
}

fn size(record: &Quarantined) -> usize {
    record.key.len() + record.value.as_ref().map_or(0, |v| v.len())
}
