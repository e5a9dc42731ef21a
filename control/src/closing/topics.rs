//! What a closed tenant left in compacted topics is marked as gone; compaction then takes it.

use std::collections::HashSet;

use anyhow::Context;
use laneway_log::{Records, Topic};
use laneway_tenancy::{OperatorScope, TenantId};

use crate::Control;

/// Keys that are held at once: with more, the topic is read again.
const MOST_KEYS: usize = 100_000;
/// Records of one append.
const APPEND: usize = 1000;

/// How many keys were marked.
pub(super) async fn erase(
    control: &Control,
    operator: &OperatorScope,
    tenant: TenantId,
    topic: Topic,
) -> anyhow::Result<u64> {
    let deps = &control.deps;
    let lanes = if topic.co_partitioned() {
        let found = deps.store.tenants(operator).find(tenant).await?;
        found
            .context("a tenant that is being closed is not in the store")?
            .body
            .placement
            .lanes
    } else {
        vec![0]
    };
    let mut erased = 0;
    for lane in lanes {
        loop {
            let keys = keys(control, tenant, topic, lane).await?;
            erased += keys.len() as u64;
            mark(control, topic, lane, &keys).await?;
            if keys.len() < MOST_KEYS {
                break;
            }
        }
    }
    Ok(erased)
}

/// Keys of the tenant whose last record is not a mark yet. What the tenant is, `tenant-events`
/// goes on telling.
async fn keys(
    control: &Control,
    tenant: TenantId,
    topic: Topic,
    partition: u32,
) -> anyhow::Result<HashSet<Vec<u8>>> {
    let log = &control.deps.log;
    let prefix = format!("{tenant}/");
    let itself = format!("{tenant}/tenant/");
    let bounds = log.bounds(topic, partition).await?;
    let mut keys = HashSet::new();
    let mut at = bounds.earliest;
    let mut reader = log.reader(topic, vec![(partition, at)]).await?;
    while at < bounds.last_stable {
        let batch = reader.next().await?;
        at = batch.next_offset();
        for record in batch.iter() {
            if !record.key.starts_with(prefix.as_bytes())
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
            .with_context(|| format!("marking what a closed tenant left in {topic}"))?;
    }
}
