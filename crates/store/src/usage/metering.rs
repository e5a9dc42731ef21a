//! What metering writes: counts by tenant and day, in one transaction with how far it has come,
//! so that nothing is counted twice and nothing is missed, whoever stops where.

use std::collections::{BTreeMap, BTreeSet};

use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DestinationId, DeviceId, TenantId};
use sqlx::Row;

use super::tenant_list;
use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, placeholders};
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};

/// Events accepted of a tenant on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageCount {
    pub tenant: TenantId,
    pub day: i64,
    pub events: i64,
    /// Of their keys and values.
    pub bytes: i64,
}

/// A device that sent something on a day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceDay {
    pub tenant: TenantId,
    pub day: i64,
    pub device: DeviceId,
}

/// What a destination's cursor says in a lane: events that it has acknowledged since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredTotal {
    pub tenant: TenantId,
    pub destination: DestinationId,
    pub lane: u32,
    /// Of the unit of work that wrote the cursor.
    pub day: i64,
    /// `None` where the cursor is deleted.
    pub total: Option<i64>,
}

/// What came from `from_offset..to_offset` of a partition of a topic.
#[derive(Debug, Clone, Default)]
pub struct UsageBatch {
    pub generation: u32,
    pub topic: &'static str,
    pub partition: u32,
    pub from_offset: u64,
    pub to_offset: u64,
    pub counts: Vec<UsageCount>,
    pub devices: BTreeSet<DeviceDay>,
    /// In the order in which they were read.
    pub delivered: Vec<DeliveredTotal>,
}

/// What is added to a row of `usage_daily`.
#[derive(Debug, Default, Clone, Copy)]
struct Added {
    events: i64,
    bytes: i64,
    devices: i64,
    deliveries: i64,
}

type Days = BTreeMap<(TenantId, i64), Added>;
/// A destination in a lane.
type Place = (TenantId, DestinationId, u32);

impl Store {
    /// The next offset that metering has to read of a partition of a topic.
    pub async fn metered(
        &self,
        _authority: &RoleAuthority,
        generation: u32,
        topic: &str,
        partition: u32,
    ) -> Result<Option<u64>> {
        let mut tx = self.read(Access::Projection(String::new())).await?;
        let at = position(&mut tx, generation, topic, partition).await?;
        tx.commit().await?;
        Ok(at)
    }

    /// Adds a batch to the counts, all or nothing. [`StoreError::Moved`] where the partition is
    /// not at `from_offset`; one that is nowhere yet may begin anywhere.
    pub async fn meter(&self, authority: &RoleAuthority, batch: &UsageBatch) -> Result<()> {
        self.meter_all(authority, &mut [batch]).await
    }

    /// The same for batches of several partitions, in one transaction.
    pub async fn meter_all(
        &self,
        _authority: &RoleAuthority,
        batches: &mut [&UsageBatch],
    ) -> Result<()> {
        // In the order of their keys, so that two members lock rows in the same order.
        batches.sort_unstable_by_key(|batch| (batch.topic, batch.partition));
        let tenants = batches.iter().flat_map(|batch| {
            let counts = batch.counts.iter().map(|c| c.tenant);
            let devices = batch.devices.iter().map(|d| d.tenant);
            let delivered = batch.delivered.iter().map(|d| d.tenant);
            counts.chain(devices).chain(delivered)
        });
        let mut tx = self.write(Access::Projection(tenant_list(tenants))).await?;
        for batch in batches.iter() {
            advance(&mut tx, batch).await?;
        }
        let mut days = Days::new();
        for count in batches.iter().flat_map(|batch| &batch.counts) {
            let day = days.entry((count.tenant, count.day)).or_default();
            day.events += count.events;
            day.bytes += count.bytes;
        }
        let devices: BTreeSet<&DeviceDay> = batches.iter().flat_map(|b| &b.devices).collect();
        let devices: Vec<&DeviceDay> = devices.into_iter().collect();
        for chunk in chunks(&devices) {
            add_devices(&mut tx, chunk, &mut days).await?;
        }
        let delivered: Vec<&DeliveredTotal> = batches.iter().flat_map(|b| &b.delivered).collect();
        if !delivered.is_empty() {
            add_delivered(&mut tx, &delivered, &mut days).await?;
        }
        // In the order of their keys, so that two batches lock rows in the same order.
        let days: Vec<((TenantId, i64), Added)> = days.into_iter().collect();
        for chunk in chunks(&days) {
            add_days(&mut tx, chunk).await?;
        }
        tx.commit().await
    }
}

async fn position(
    tx: &mut Tx,
    generation: u32,
    topic: &str,
    partition: u32,
) -> Result<Option<u64>> {
    let doing = "reading how far metering has come";
    let row = sqlx::query(
        "SELECT next_offset FROM usage_positions
         WHERE generation = $1 AND topic = $2 AND partition = $3",
    )
    .bind(i64::from(generation))
    .bind(topic)
    .bind(i64::from(partition))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(doing)?;
    let at: Option<i64> = row.map(|row| row.try_get(0).doing(doing)).transpose()?;
    Ok(at.map(|at| u64::try_from(at).unwrap_or(0)))
}

/// Compare and set. Locks the partition's row until the transaction ends.
async fn advance(tx: &mut Tx, batch: &UsageBatch) -> Result<()> {
    let stored = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let moved = sqlx::query(
        "UPDATE usage_positions SET next_offset = $5
         WHERE generation = $1 AND topic = $2 AND partition = $3 AND next_offset = $4",
    )
    .bind(i64::from(batch.generation))
    .bind(batch.topic)
    .bind(i64::from(batch.partition))
    .bind(stored(batch.from_offset))
    .bind(stored(batch.to_offset))
    .execute(&mut *tx.inner)
    .await
    .doing("advancing metering")?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    let begun = sqlx::query(
        "INSERT INTO usage_positions (generation, topic, partition, next_offset)
         VALUES ($1, $2, $3, $4) ON CONFLICT (generation, topic, partition) DO NOTHING",
    )
    .bind(i64::from(batch.generation))
    .bind(batch.topic)
    .bind(i64::from(batch.partition))
    .bind(stored(batch.to_offset))
    .execute(&mut *tx.inner)
    .await
    .doing("beginning to meter a partition")?;
    if begun.rows_affected() == 1 {
        return Ok(());
    }
    let actual = position(tx, batch.generation, batch.topic, batch.partition).await?;
    Err(StoreError::Moved {
        generation: batch.generation,
        partition: batch.partition,
        expected: batch.from_offset,
        actual,
    })
}

/// A device counts on the day when it is seen first.
async fn add_devices(tx: &mut Tx, devices: &[&DeviceDay], days: &mut Days) -> Result<()> {
    let doing = "writing the devices of a day";
    let sql = format!(
        "INSERT INTO usage_devices (tenant_id, day, device_id) VALUES {}
         ON CONFLICT (tenant_id, day, device_id) DO NOTHING RETURNING tenant_id, day",
        placeholders(3, devices.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for seen in devices {
        query = query
            .bind(seen.tenant.to_string())
            .bind(seen.day)
            .bind(seen.device.as_str());
    }
    for row in query.fetch_all(&mut *tx.inner).await.doing(doing)? {
        let id: String = row.try_get("tenant_id").doing(doing)?;
        let row = Named::new("usage_devices", &id, &row);
        let key = (row.parse("tenant_id")?, row.get("day")?);
        days.entry(key).or_default().devices += 1;
    }
    Ok(())
}

/// Totals to what they grew by. One that is smaller than before begins anew: its cursor was lost.
async fn add_delivered(tx: &mut Tx, delivered: &[&DeliveredTotal], days: &mut Days) -> Result<()> {
    let mut totals: BTreeMap<Place, Option<i64>> = BTreeMap::new();
    for said in delivered {
        totals.insert((said.tenant, said.destination, said.lane), None);
    }
    for (place, total) in &mut totals {
        *total = counted(tx, *place).await?;
    }
    for said in delivered {
        let Some(total) = totals.get_mut(&(said.tenant, said.destination, said.lane)) else {
            continue;
        };
        if let Some(now) = said.total {
            let before = total.filter(|before| *before <= now).unwrap_or(0);
            if now > before {
                let day = days.entry((said.tenant, said.day)).or_default();
                day.deliveries += now - before;
            }
        }
        *total = said.total;
    }
    for (place, total) in totals {
        set_counted(tx, place, total).await?;
    }
    Ok(())
}

async fn counted(tx: &mut Tx, (tenant, destination, lane): Place) -> Result<Option<i64>> {
    let doing = "reading what is counted of a destination";
    let row = sqlx::query(
        "SELECT total FROM usage_delivered
         WHERE tenant_id = $1 AND destination_id = $2 AND lane = $3",
    )
    .bind(tenant.to_string())
    .bind(destination.to_string())
    .bind(i64::from(lane))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(doing)?;
    row.map(|row| row.try_get(0).doing(doing)).transpose()
}

async fn set_counted(
    tx: &mut Tx,
    (tenant, destination, lane): Place,
    total: Option<i64>,
) -> Result<()> {
    let sql = if total.is_some() {
        "INSERT INTO usage_delivered (tenant_id, destination_id, lane, total)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, destination_id, lane) DO UPDATE SET total = excluded.total"
    } else {
        "DELETE FROM usage_delivered WHERE tenant_id = $1 AND destination_id = $2 AND lane = $3"
    };
    let mut query = sqlx::query(sql)
        .bind(tenant.to_string())
        .bind(destination.to_string())
        .bind(i64::from(lane));
    if let Some(total) = total {
        query = query.bind(total);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("writing what is counted of a destination")?;
    Ok(())
}

async fn add_days(tx: &mut Tx, rows: &[((TenantId, i64), Added)]) -> Result<()> {
    let sql = format!(
        "INSERT INTO usage_daily (tenant_id, day, events, bytes, devices, deliveries) VALUES {}
         ON CONFLICT (tenant_id, day) DO UPDATE SET
            events = usage_daily.events + excluded.events,
            bytes = usage_daily.bytes + excluded.bytes,
            devices = usage_daily.devices + excluded.devices,
            deliveries = usage_daily.deliveries + excluded.deliveries",
        placeholders(6, rows.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for ((tenant, day), added) in rows {
        query = query
            .bind(tenant.to_string())
            .bind(*day)
            .bind(added.events)
            .bind(added.bytes)
            .bind(added.devices)
            .bind(added.deliveries);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("adding to the usage of a day")?;
    Ok(())
}
