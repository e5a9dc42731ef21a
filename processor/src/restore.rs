//! Partitions as their last owner left them, read back from the state topic.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use foldhash::{HashMap, HashMapExt};
use laneway_log::{Log, RecordRef, Topic};
use laneway_schemas::ProcessorState;
use laneway_tenancy::TenantId;

use crate::derive::{StateBody, decode_device};
use crate::partition::{Partition, TICK_KEY};
use crate::shared::Shared;

/// Last records of one key's device, as in the log.
#[derive(Default)]
struct Found {
    head: Vec<u8>,
    parts: BTreeMap<StateBody, Vec<u8>>,
}

#[derive(Default)]
struct Reading {
    found: HashMap<Box<str>, Found>,
    tick: Vec<u8>,
    /// Where reading has to come to.
    end: u64,
}

/// Reads the state of the partitions. What was being written when they were assigned is waited
/// for: it is committed or given up before reading passes it.
pub async fn restore(
    log: &dyn Log,
    numbers: &[u32],
    group: &str,
    topics: &[Topic],
    shared: &mut Shared,
) -> anyhow::Result<Vec<Partition>> {
    let mut readings: BTreeMap<u32, Reading> = BTreeMap::new();
    let mut from = Vec::new();
    for number in numbers {
        let bounds = log.bounds(Topic::ProcessorState, *number).await?;
        let reading = readings.entry(*number).or_default();
        reading.found = HashMap::new();
        reading.end = bounds.end;
        if bounds.earliest < bounds.end {
            from.push((*number, bounds.earliest));
        }
    }
    let mut open = from.len();
    if open > 0 {
        let mut reader = log.reader(Topic::ProcessorState, from).await?;
        let mut done = std::collections::BTreeSet::new();
        while open > 0 {
            let batch = reader.next().await?;
            let Some(reading) = readings.get_mut(&batch.partition()) else {
                continue;
            };
            for record in batch.iter() {
                reading.take(&record).with_context(|| {
                    format!(
                        "reading {}[{}] at offset {}",
                        Topic::ProcessorState,
                        batch.partition(),
                        record.offset
                    )
                })?;
            }
            if batch.next_offset() >= reading.end && done.insert(batch.partition()) {
                reader.unassign(batch.partition())?;
                open -= 1;
            }
        }
    }
    let mut partitions = Vec::with_capacity(readings.len());
    for (number, reading) in readings {
        let partition = reading.build(number, shared).await;
        partitions.push(
            partition.with_context(|| format!("restoring partition {number} of the processor"))?,
        );
    }
    for topic in topics {
        let committed = log.committed(group, *topic).await?;
        for partition in &mut partitions {
            if let Some(next) = committed.get(partition.number as usize).copied().flatten() {
                partition.at_position(*topic, next);
            }
        }
    }
    Ok(partitions)
}

impl Reading {
    fn take(&mut self, record: &RecordRef<'_>) -> anyhow::Result<()> {
        let key = std::str::from_utf8(record.key).context("the key is not UTF-8")?;
        if key.starts_with(TICK_KEY) {
            replace(&mut self.tick, record.value.unwrap_or_default());
            return Ok(());
        }
        let slash = key
            .find('/')
            .ok_or_else(|| anyhow!("the key `{key}` names no device"))?;
        let (name, part) = match key[slash + 1..].split_once('/') {
            Some((device, part)) => (&key[..slash + 1 + device.len()], Some(part)),
            None => (key, None),
        };
        if !self.found.contains_key(name) {
            self.found.insert(name.into(), Found::default());
        }
        let Some(found) = self.found.get_mut(name) else {
            return Ok(());
        };
        match (part, record.value) {
            (None, value) => replace(&mut found.head, value.unwrap_or_default()),
            (Some(part), value) => {
                let part = StateBody::parse_key(part)
                    .with_context(|| format!("the key `{key}` names no part of a state"))?;
                match value {
                    Some(value) => replace(found.parts.entry(part).or_default(), value),
                    None => drop(found.parts.remove(&part)),
                }
            }
        }
        Ok(())
    }

    async fn build(self, number: u32, shared: &mut Shared) -> anyhow::Result<Partition> {
        let mut partition = Partition::new(number);
        if !self.tick.is_empty() {
            let tick: ProcessorState = shared.codecs.decode_loading(&self.tick).await?;
            partition.clock = tick.clock;
        }
        for (key, found) in self.found {
            // Parts without a head are of a unit that compaction has seen before its head; the
            // head follows in the same unit, so there is none only where everything is gone.
            if found.head.is_empty() {
                continue;
            }
            let head: ProcessorState = shared.codecs.decode_loading(&found.head).await?;
            let mut parts = BTreeMap::new();
            for (part, value) in found.parts {
                let state: ProcessorState = shared.codecs.decode_loading(&value).await?;
                parts.insert(part, state.body.into_vec());
            }
            let id: TenantId = head
                .tenant_id
                .parse()
                .with_context(|| format!("the state `{key}` is of no tenant"))?;
            let tenant = partition
                .tenants
                .place(id, &head.tenant_id, &shared.authority);
            let device = decode_device(tenant, &head.device_id, &head.body, &parts).with_context(|| {
                format!("the state of `{key}` is damaged: restore the topic from a copy, or delete the key's records")
            })?;
            partition.clock = partition.clock.max(device.last_received());
            let place = partition.devices.insert(device);
            partition.queue_restored(place, shared.idle_close_us);
        }
        Ok(partition)
    }
}

fn replace(into: &mut Vec<u8>, value: &[u8]) {
    into.clear();
    into.extend_from_slice(value);
}
