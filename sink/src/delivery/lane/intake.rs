//! What a lane takes in: the head, and what is read for those behind it.

use std::sync::Arc;

use bytes::Bytes;
use laneway_log::{Batch, RecordRef};
use laneway_schemas::Codecs;
use laneway_tenancy::DestinationId;

use super::Lane;
use crate::delivery::destination::Event;
use crate::delivery::reading::{Read, Reading};
use crate::event::{Facts, TenantKey, encode_event, split_key, try_again};

impl Lane {
    /// The next records of the partition, for all who ride.
    pub(super) async fn head(&mut self, batch: &Batch) {
        let mut touched: Vec<DestinationId> = Vec::new();
        for record in batch.iter().filter(|r| r.offset >= self.head) {
            let Some((tenant, _)) = split_key(record.key) else {
                continue;
            };
            let Some(ids) = self.by_tenant.get(&tenant) else {
                continue;
            };
            let Some(facts) = Facts::of(&record) else {
                continue;
            };
            let mut event = None;
            for id in ids {
                let Some(target) = self.targets.get_mut(id) else {
                    continue;
                };
                let offset = record.offset;
                if !target.riding || !target.filter.matches(&facts) || !target.cursor.is_due(offset)
                {
                    continue;
                }
                if target.is_full() {
                    // It goes on from here by itself, when there is room.
                    target.cursor.pass(offset);
                    target.riding = false;
                    touched.push(*id);
                    continue;
                }
                if event.is_none() {
                    let codecs = &self.shared.deps.codecs;
                    event = encode(codecs, &facts, &record).await.map(Arc::new);
                }
                let Some(event) = &event else { break };
                if target.queues.len() == 0 || touched.last() != Some(id) {
                    touched.push(*id);
                }
                target.take(Arc::clone(event));
            }
        }
        self.head = self.head.max(batch.next_offset());
        for target in self.targets.values_mut().filter(|t| t.riding) {
            target.cursor.pass(self.head);
        }
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.pump(id).await;
        }
    }

    /// A batch that was read for a target that is behind.
    pub(super) async fn read(&mut self, read: Read) {
        let Some(target) = self.targets.get_mut(&read.target) else {
            return;
        };
        if target
            .reading
            .as_ref()
            .is_some_and(|r| r.serial == read.serial)
        {
            target.held = Some((read.batch, 0));
            self.pump(read.target).await;
        }
    }

    /// Takes from what was read for a target, and reads on where there is room.
    pub(super) async fn feed(&mut self, id: DestinationId) {
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        if target.riding || !target.active || target.destination.is_none() {
            return;
        }
        let tenant = TenantKey::of(target.entry.tenant);
        if let Some((batch, mut index)) = target.held.take() {
            while let Some(record) = batch.get(index) {
                let facts = Facts::of(&record)
                    .filter(|f| f.tenant == tenant && target.filter.matches(f))
                    .filter(|_| target.cursor.is_due(record.offset));
                if let Some(facts) = facts {
                    if target.is_full() {
                        target.held = Some((batch, index));
                        return;
                    }
                    if let Some(event) = encode(&self.shared.deps.codecs, &facts, &record).await {
                        target.take(Arc::new(event));
                    }
                }
                index += 1;
            }
            target.cursor.pass(batch.next_offset());
            if let Some(reading) = &target.reading {
                reading.more();
            }
        }
        if target.cursor.read() >= self.head {
            target.riding = true;
            target.stop_reading();
            return;
        }
        // One that waits as a whole needs no reader, but something to ask with once it is due.
        let waits = target.breaker.is_open() && target.queues.len() > 0;
        if target.reading.is_none() && target.has_room() && !waits {
            self.serial += 1;
            let place = (self.partition, target.cursor.read());
            let reading =
                Reading::start(&self.shared, (id, self.serial), place, self.reads.0.clone());
            target.reading = Some(reading);
        }
    }
}

/// Encodes an event, if it can be read.
pub(super) async fn encode(
    codecs: &Codecs,
    facts: &Facts<'_>,
    record: &RecordRef<'_>,
) -> Option<Event> {
    let mut body = Vec::with_capacity(512);
    while let Err(error) = encode_event(codecs, facts, record.value, &mut body) {
        if !try_again(codecs, facts, record.offset, &error).await {
            return None;
        }
    }
    Some(Event {
        offset: record.offset,
        id: facts.id.into(),
        device: facts.device.into(),
        body: Bytes::from(body),
        redriven: false,
    })
}
