//! What an attempt came to: done, again later, or parked.

use laneway_schemas::SinkCursor;
use serde_json::json;
use tokio::time::Instant;

use super::{Attempt, Lane};
use crate::delivery::cursor::{Cursor, dead_letter_key};
use crate::delivery::destination::{Event, Outcome};
use crate::delivery::target::Target;

impl Lane {
    pub(super) async fn judge(&mut self, attempt: Attempt) {
        let Attempt {
            target: id,
            life,
            event,
            outcome,
        } = attempt;
        let now = Instant::now();
        let settings = &self.shared.deps.settings;
        let counters = self.shared.counters;
        let Some(target) = self.targets.get_mut(&id).filter(|t| t.life == life) else {
            return;
        };
        match outcome {
            Outcome::Delivered => {
                target.breaker.succeeded();
                target.counts.add(counters.delivered, 1);
                target.done(&event, now);
            }
            Outcome::Failed {
                reason,
                retry_after,
            } => {
                target.counts.add(counters.failed, 1);
                target.breaker.failed(now, retry_after, &mut self.rng);
                let failures = target.queues.failed(&event.device);
                tracing::debug!(destination = %id, event = &*event.id, failures, reason, "a delivery failed");
                let wait = self.shared.backoff().after(failures, &mut self.rng);
                target.queues.wait(
                    &event.device,
                    now + wait.max(retry_after.unwrap_or_default()),
                );
                self.spare_reader(id);
            }
            Outcome::Refused { reason } => {
                target.counts.add(counters.failed, 1);
                target.breaker.failed(now, None, &mut self.rng);
                let successes = target.breaker.successes();
                let (refusals, before) = target.queues.refused(&event.device, successes);
                if refusals >= settings.park_after && successes > before {
                    let letter = letter(target, &event, &reason, refusals, self.partition);
                    let mut value = Vec::new();
                    match self.shared.deps.codecs.encode(&letter, &mut value) {
                        Ok(()) => {
                            tracing::warn!(destination = %id, event = &*event.id, refusals, reason, "an event goes to the dead letters");
                            target.counts.add(counters.parked, 1);
                            // Written in the unit of work that moves the cursor past it.
                            self.letters.push((
                                dead_letter_key(target.entry.tenant, id, &event.id),
                                Some(value),
                            ));
                            target.done(&event, now);
                            return self.pump(id).await;
                        }
                        Err(error) => {
                            tracing::error!(destination = %id, %error, "a dead letter cannot be encoded")
                        }
                    }
                }
                let failures = target.queues.failed(&event.device);
                tracing::debug!(destination = %id, event = &*event.id, refusals, reason, "a delivery was refused");
                let wait = self.shared.backoff().after(failures, &mut self.rng);
                target.queues.wait(&event.device, now + wait);
                self.spare_reader(id);
            }
        }
        self.pump(id).await;
    }

    /// A destination that fails needs no reader meanwhile: others may be waiting for one.
    fn spare_reader(&mut self, id: laneway_tenancy::DestinationId) {
        if let Some(target) = self
            .targets
            .get_mut(&id)
            .filter(|t| t.breaker.is_open() && t.queues.len() > 0)
        {
            target.stop_reading();
        }
    }
}

fn letter(target: &Target, event: &Event, reason: &str, refusals: u32, lane: u32) -> SinkCursor {
    let entry = &target.entry;
    let about =
        Cursor::at(event.offset).record(entry.tenant, entry.id, target.generation, lane, false);
    let dead = json!({ "event_id": &*event.id, "device": &*event.device, "reason": reason, "attempts": refusals });
    SinkCursor {
        dead: Some(dead.to_string()),
        ..about
    }
}
