//! What was kept of a tenant or a device in compacted topics is marked as gone; compaction then
//! takes it.

use std::collections::HashSet;

use anyhow::Context;
use laneway_log::{Records, Topic};
use laneway_tenancy::{DeviceId, OperatorScope, Placement, TenantId};

use crate::Control;

/// Keys that are held at once: with more, the topic is read again.
const MOST_KEYS: usize = 100_000;
/// Records of one append.
const APPEND: usize = 1000;

/// Of whom.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    Tenant(TenantId),
    Device(TenantId, &'a DeviceId),
}

impl Of<'_> {
    pub(crate) fn tenant(self) -> TenantId {
        match self {
            Of::Tenant(tenant) | Of::Device(tenant, _) => tenant,
        }
    }

    pub(crate) fn keys(self) -> Keys {
        let whole = match self {
            Of::Tenant(tenant) => tenant.to_string(),
            Of::Device(tenant, device) => format!("{tenant}/{device}"),
        };
        let prefix = format!("{whole}/");
        Keys { whole, prefix }
    }

    pub(crate) fn lanes(self, placement: &Placement) -> Vec<u32> {
        match self {
            Of::Tenant(_) => placement.lanes.clone(),
            Of::Device(_, device) => vec![placement.lane(device.as_str())],
        }
    }
}

/// What the keys of its records are, or begin with.
pub(crate) struct Keys {
    whole: String,
    prefix: String,
}

impl Keys {
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        key == self.whole.as_bytes() || key.starts_with(self.prefix.as_bytes())
    }
}

/// How many keys were marked.
pub(crate) async fn erase(
    control: &Control,
    operator: &OperatorScope,
    of: Of<'_>,
    topic: Topic,
) -> anyhow::Result<u64> {
    let deps = &control.deps;
    let lanes = if topic.co_partitioned() {
        let found = deps.store.tenants(operator).find(of.tenant()).await?;
        let found = found.context("a tenant whose things are erased is not in the store")?;
        of.lanes(&found.body.placement)
    } else {
        vec![0]
    };
    let mut erased = 0;
    for lane in lanes {
        loop {
            let keys = keys(control, of, topic, lane).await?;
            erased += keys.len() as u64;
            mark(control, topic, lane, &keys).await?;
            if keys.len() < MOST_KEYS {
                break;
            }
        }
    }
    Ok(erased)
}

/// Keys whose last record is not a mark yet. What the tenant is, `tenant-events`
/// goes on telling.
async fn keys(
    control: &Control,
    of: Of<'_>,
    topic: Topic,
    partition: u32,
) -> anyhow::Result<HashSet<Vec<u8>>> {
    let log = &control.deps.log;
    let its = of.keys();
    let itself = format!("{}/tenant/", of.tenant());
    let bounds = log.bounds(topic, partition).await?;
    let mut keys = HashSet::new();
    let mut at = bounds.earliest;
    let mut reader = log.reader(topic, vec![(partition, at)]).await?;
    while at < bounds.last_stable {
        let batch = reader.next().await?;
        at = batch.next_offset();
        for record in batch.iter() {
            if !its.has(record.key)
                || (topic == Topic::TenantEvents && record.key.starts_with(itself.as_bytes()))
            {
                continue;
            }
            if record.value.is_none() {
                keys.remove(record.key);
            } else if keys.len() < MOST_KEYS {
                keys.insert(record.key.to_vec());
            }
        }
    }
    Ok(keys)
}

async fn mark(
    control: &Control,
    topic: Topic,
    partition: u32,
    keys: &HashSet<Vec<u8>>,
) -> anyhow::Result<()> {
    let now_ms = control.deps.clock.now_us() / 1000;
    let mut left = keys.iter();
    loop {
        let mut records = Records::with_capacity(APPEND, APPEND * 64);
        for key in left.by_ref().take(APPEND) {
            records.push_tombstone(topic, partition, now_ms, key);
        }
        if records.is_empty() {
            return Ok(());
        }
        control
            .deps
            .log
            .append(records)
            .await
            .with_context(|| format!("marking as gone what was kept in {topic}"))?;
    }
}
