//! Dead letters that are asked for: their events are read from the log once more, and delivered
//! under the ids they always had.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashSet;
use laneway_log::{LogError, Topic};
use laneway_schemas::sink::{dead_letter_key, redrive_key};
use laneway_tenancy::DestinationId;
use tokio::time::Instant;

use super::Lane;
use super::intake::encode;
use crate::delivery::destination::Event;
use crate::delivery::letters::Letter;
use crate::delivery::shared::Shared;
use crate::event::{Facts, TenantKey};

/// Of one destination and lane, at a time.
const UNDER_WAY: usize = 64;
/// Before those that could not be read are read again.
const AGAIN: Duration = Duration::from_secs(5);

/// Events of dead letters that were read again.
pub(super) struct Redriven {
    target: DestinationId,
    life: u64,
    asked: Vec<u64>,
    /// The first offset that the lane still has, and the events among those asked for.
    found: Result<(u64, Vec<Event>), LogError>,
}

impl Lane {
    /// Begins to read the dead letters that are asked for.
    pub(super) fn redrive(&mut self, id: DestinationId) {
        let Some(redrives) = self.shared.signals.redrives(id) else {
            return;
        };
        if self.targets.get(&id).is_none_or(|target| !target.active) {
            return;
        }
        let letters = self.letters.entry(id).or_default();
        if letters.under_way() > UNDER_WAY / 2 {
            return;
        }
        let asked = letters.begin(&redrives, UNDER_WAY);
        if !asked.is_empty() {
            self.read_again(id, asked);
        }
    }

    /// Removes requests for dead letters of this lane that are no longer there.
    pub(super) fn answer_redrives(&mut self, id: DestinationId) {
        let (Some(redrives), Some(target)) =
            (self.shared.signals.redrives(id), self.targets.get(&id))
        else {
            return;
        };
        let letters = self.letters.entry(id).or_default();
        let there: HashSet<&str> = letters.iter().map(|l| &*l.event_id).collect();
        for (event, redrive) in &redrives.events {
            if redrive.lane == self.partition && !there.contains(event.as_str()) {
                let key = redrive_key(target.entry.tenant, id, Some(event));
                self.unwritten.push((Topic::SinkSignals, key, None));
            }
        }
    }

    /// Reads these dead letters' events, and finds out which are no longer kept.
    pub(super) fn read_again(&mut self, id: DestinationId, asked: Vec<u64>) {
        let Some(target) = self.targets.get(&id) else {
            return;
        };
        let (life, tenant) = (target.life, TenantKey::of(target.entry.tenant));
        let (shared, partition) = (Arc::clone(&self.shared), self.partition);
        self.redriving.spawn(async move {
            let found = read(&shared, partition, tenant, &asked).await;
            Redriven {
                target: id,
                life,
                asked,
                found,
            }
        });
    }

    pub(super) async fn redriven(&mut self, redriven: Redriven) {
        let id = redriven.target;
        let Some(letters) = self.letters.get_mut(&id) else {
            return;
        };
        let Some(target) = self
            .targets
            .get_mut(&id)
            .filter(|t| t.life == redriven.life)
        else {
            return;
        };
        let gone = match redriven.found {
            Ok((earliest, events)) => {
                let mut gone = letters.expire(earliest);
                for offset in &redriven.asked {
                    if !events.iter().any(|e| e.offset == *offset) {
                        gone.extend(letters.remove(*offset));
                    }
                }
                for event in events {
                    target.take_again(Arc::new(event));
                }
                gone
            }
            Err(error) => {
                tracing::warn!(destination = %id, lane = self.partition, %error, "dead letters cannot be read; trying again");
                letters.give_up(&redriven.asked);
                self.wakes.push(Reverse((Instant::now() + AGAIN, id)));
                Vec::new()
            }
        };
        for letter in gone {
            tracing::warn!(destination = %id, event = &*letter.event_id, "a dead letter goes: its event is no longer retained");
            metrics::counter!("laneway_sink_expired_total").increment(1);
            self.forget_letter(id, &letter);
        }
        self.pump(id).await;
    }

    /// Writes that a dead letter, and the request for it, are no more.
    pub(super) fn forget_letter(&mut self, id: DestinationId, letter: &Letter) {
        let Some(target) = self.targets.get(&id) else {
            return;
        };
        let tenant = target.entry.tenant;
        let key = dead_letter_key(tenant, id, &letter.event_id);
        self.unwritten.push((Topic::SinkCursors, key, None));
        self.answer_redrive(id, &letter.event_id);
    }

    /// Removes the request for one dead letter.
    pub(super) fn answer_redrive(&mut self, id: DestinationId, event: &str) {
        let asked = self.shared.signals.redrives(id);
        let Some(target) = self.targets.get(&id) else {
            return;
        };
        if asked.is_some_and(|asked| asked.events.contains_key(event)) {
            let key = redrive_key(target.entry.tenant, id, Some(event));
            self.unwritten.push((Topic::SinkSignals, key, None));
        }
    }
}

async fn read(
    shared: &Shared,
    partition: u32,
    tenant: TenantKey,
    asked: &[u64],
) -> Result<(u64, Vec<Event>), LogError> {
    let log = &shared.deps.log;
    let bounds = log.bounds(Topic::TenantStreams, partition).await?;
    let mut events = Vec::with_capacity(asked.len());
    let mut rest = asked
        .iter()
        .copied()
        .filter(|o| *o >= bounds.earliest)
        .peekable();
    let Some(first) = rest.peek().copied() else {
        return Ok((bounds.earliest, events));
    };
    let mut reader = log
        .reader(Topic::TenantStreams, vec![(partition, first)])
        .await?;
    while let Some(wanted) = rest.peek().copied() {
        let batch = reader.next().await?;
        for record in batch.iter() {
            if rest.next_if_eq(&record.offset).is_none() {
                continue;
            }
            let Some(facts) = Facts::of(&record).filter(|f| f.tenant == tenant) else {
                continue;
            };
            if let Some(event) = encode(&shared.deps.codecs, &facts, &record).await {
                events.push(Event {
                    redriven: true,
                    ..event
                });
            }
        }
        let next = batch.next_offset();
        while rest
            .next_if(|offset| *offset < next && *offset >= wanted)
            .is_some()
        {}
        if let Some(far) = rest.peek().copied().filter(|offset| *offset > next) {
            reader.assign(partition, far)?;
        }
    }
    Ok((bounds.earliest, events))
}
