//! What an attempt came to: done, again later, or parked.

use std::time::Duration;

use laneway_log::Topic;
use laneway_schemas::SinkCursor;
use laneway_schemas::sink::{DeadLetter, dead_letter_key};
use laneway_tenancy::DestinationId;
use tokio::time::Instant;

use super::Lane;
use crate::delivery::cursor::Cursor;
use crate::delivery::destination::{Attempted, Event, Outcome};

impl Lane {
    pub(super) fn judge(&mut self, attempted: Attempted) {
        let Attempted {
            target: id,
            life,
            event,
            outcome,
        } = attempted;
        let current = self.targets.get(&id).filter(|t| t.life == life);
        if current.is_none() {
            return;
        }
        match outcome {
            Outcome::Delivered => self.delivered(id, &event),
            Outcome::Failed {
                reason,
                retry_after,
            } => self.failed(id, &event, &reason, retry_after),
            Outcome::Refused { reason } => self.refused(id, &event, &reason),
        }
    }

    fn delivered(&mut self, id: DestinationId, event: &Event) {
        let counters = self.shared.counters;
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        if target.breaker.succeeded() {
            let health = target.breaker.health(Instant::now());
            self.shared.signals.tell(target.entry.tenant, id, &health);
        }
        target.counts.add(counters.delivered, 1);
        target.delivered(event, Instant::now());
        if event.redriven {
            target.counts.add(counters.redriven, 1);
            let letter = self
                .letters
                .get_mut(&id)
                .and_then(|l| l.remove(event.offset));
            if let Some(letter) = letter {
                self.forget_letter(id, &letter);
            }
            self.redrive(id);
        }
    }

    fn failed(
        &mut self,
        id: DestinationId,
        event: &Event,
        reason: &str,
        retry_after: Option<Duration>,
    ) {
        self.count_failure(id, reason, retry_after);
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let failures = target.queues.failed(event);
        tracing::debug!(destination = %id, event = &*event.id, failures, reason, "a delivery failed");
        let wait = self.shared.backoff.after(failures, &mut self.rng);
        let until = Instant::now() + wait.max(retry_after.unwrap_or_default());
        target.queues.wait(event, until);
        self.spare_reader(id);
    }

    fn refused(&mut self, id: DestinationId, event: &Event, reason: &str) {
        self.count_failure(id, reason, None);
        let settings = &self.shared.deps.settings;
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let successes = target.breaker.successes();
        let (refusals, before) = target.queues.refused(event, successes);
        let kept_refused = refusals >= settings.park_after && successes > before;
        let letters = self.letters.entry(id).or_default().len();
        if event.redriven || (kept_refused && letters < settings.dead_letters) {
            return self.park(id, event, reason, refusals);
        }
        let failures = target.queues.failed(event);
        tracing::debug!(destination = %id, event = &*event.id, refusals, reason, "a delivery was refused");
        let wait = self.shared.backoff.after(failures, &mut self.rng);
        target.queues.wait(event, Instant::now() + wait);
        if kept_refused {
            // There is room again when those have gone whose events have.
            self.read_again(id, Vec::new());
        }
        self.spare_reader(id);
    }

    /// Writes a dead letter in the unit of work that moves the cursor past its event.
    fn park(&mut self, id: DestinationId, event: &Event, reason: &str, attempts: u32) {
        let counters = self.shared.counters;
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        // A request asks for what was parked before it, whatever the clocks say.
        let asked = self.shared.signals.redrives(id);
        let until = asked.and_then(|asked| asked.until(&event.id));
        let now_us = self.shared.deps.clock.now_us();
        let parked_at = now_us.max(until.map_or(i64::MIN, |until| until.saturating_add(1)));
        let letter = DeadLetter {
            event_id: event.id.to_string(),
            device: event.device.to_string(),
            reason: reason.to_owned(),
            attempts,
            parked_at,
        };
        let entry = &target.entry;
        let about = Cursor::at(event.offset).record(
            entry.tenant,
            entry.id,
            target.generation,
            self.partition,
            false,
        );
        let mut value = Vec::new();
        let encoded = serde_json::to_string(&letter)
            .map_err(|e| e.to_string())
            .and_then(|dead| {
                let record = SinkCursor {
                    dead: Some(dead),
                    ..about
                };
                let codecs = &self.shared.deps.codecs;
                codecs
                    .encode(&record, &mut value)
                    .map_err(|e| e.to_string())
            });
        if let Err(error) = encoded {
            tracing::error!(destination = %id, error, "a dead letter cannot be encoded");
            let longest = self.shared.backoff.longest;
            return target.queues.wait(event, Instant::now() + longest);
        }
        tracing::warn!(destination = %id, event = &*event.id, attempts, reason, "an event goes to the dead letters");
        target.counts.add(counters.parked, 1);
        let key = dead_letter_key(entry.tenant, id, &event.id);
        self.unwritten.push((Topic::SinkCursors, key, Some(value)));
        target.done(event, Instant::now());
        let letters = self.letters.entry(id).or_default();
        letters.park(event.offset, &event.id, parked_at);
        if event.redriven {
            self.answer_redrive(id, &event.id);
        }
    }

    fn count_failure(&mut self, id: DestinationId, reason: &str, retry_after: Option<Duration>) {
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let now = Instant::now();
        target.counts.add(self.shared.counters.failed, 1);
        let why = (reason, self.shared.deps.clock.now_us());
        if target.breaker.failed(now, why, retry_after, &mut self.rng) {
            let health = target.breaker.health(now);
            self.shared.signals.tell(target.entry.tenant, id, &health);
        }
    }

    /// A destination that fails needs no reader meanwhile: others may be waiting for one.
    fn spare_reader(&mut self, id: DestinationId) {
        if let Some(target) = self
            .targets
            .get_mut(&id)
            .filter(|t| t.breaker.is_open() && t.queues.len() > 0)
        {
            target.stop_reading();
        }
    }
}
