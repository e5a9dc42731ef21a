//! Devices registered many at a time: one transaction, and a few statements, whatever their
//! number.

use std::collections::HashSet;

use laneway_schemas::ControlKind;
use laneway_tenancy::TenantId;
use laneway_tenancy::control::DeviceBody;
use sqlx::Row;

use super::{Devices, NewDevice, NewToken, Registered, labels};
use crate::access::{Access, Tx};
use crate::chunks::{chunks, list, placeholders};
use crate::codec::{hex, to_json};
use crate::error::{Doing, Result};
use crate::outbox::{Change, emit_many, next_versions};
use crate::room::{Counted, room};

impl Devices<'_> {
    /// Registers those that there are not yet, in their order, as far as the tenant's limit
    /// lets it; says of each what came of it. The versions of those that are created follow one
    /// another.
    pub async fn register_many(&self, new: &[NewDevice], at: i64) -> Result<Vec<Registered>> {
        let tenant = self.scope.tenant();
        let tokens = new.iter().filter_map(|device| device.token.as_ref());
        let secrets: Vec<[u8; 32]> = tokens.map(|token| token.hash).collect();
        self.store.claim_secrets(tenant, &secrets, at).await?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        next_versions(&mut tx, tenant, 0).await?;
        let mut known = existing(&mut tx, tenant, new).await?;
        let room = room(&mut tx, tenant, Counted::Devices).await?;
        let mut created: Vec<&NewDevice> = Vec::with_capacity(new.len());
        let mut outcomes = Vec::with_capacity(new.len());
        for device in new {
            outcomes.push(if known.contains(device.id.as_str()) {
                Registered::Exists
            } else if created.len() as u64 >= room.left {
                Registered::OverLimit { most: room.most }
            } else {
                known.insert(device.id.to_string());
                created.push(device);
                Registered::Created { since: 0 }
            });
        }
        if created.is_empty() {
            return Ok(outcomes);
        }
        let mut since = insert(&mut tx, tenant, &created, at).await?;
        for outcome in &mut outcomes {
            if let Registered::Created { since: is } = outcome {
                *is = since;
                since += 1;
            }
        }
        self.store.commit_change(tx).await?;
        Ok(outcomes)
    }
}

/// Inserts devices that there are not, and says so in the outbox; returns the version that
/// registered the first. A token comes with its device: it has no change of its own.
pub(crate) async fn insert<'a>(
    tx: &mut Tx,
    tenant: TenantId,
    devices: &[&'a NewDevice],
    at: i64,
) -> Result<i64> {
    let last = next_versions(tx, tenant, devices.len()).await?;
    let first = last - devices.len() as i64 + 1;
    let numbered: Vec<(&'a NewDevice, i64)> = devices.iter().copied().zip(first..).collect();
    for chunk in chunks(&numbered) {
        insert_rows(tx, tenant, chunk, at).await?;
    }
    let labelled: Vec<_> = devices
        .iter()
        .map(|device| (&device.id, &device.details.labels))
        .collect();
    labels::insert(tx, tenant, &labelled).await?;
    let tokens: Vec<(&NewDevice, &NewToken)> = devices
        .iter()
        .filter_map(|device| Some((*device, device.token.as_ref()?)))
        .collect();
    for chunk in chunks(&tokens) {
        insert_tokens(tx, tenant, chunk, at).await?;
    }
    let change = |(device, since): &(&'a NewDevice, i64)| {
        Ok(Change {
            tenant,
            version: *since,
            kind: ControlKind::Device,
            id: device.id.as_str(),
            deleted: false,
            body: Some(to_json(&DeviceBody {
                since: *since,
                disabled: false,
            })?),
            at,
        })
    };
    let changes: Vec<Change<'_>> = numbered.iter().map(change).collect::<Result<_>>()?;
    emit_many(tx, &changes).await?;
    Ok(first)
}

async fn insert_rows(
    tx: &mut Tx,
    tenant: TenantId,
    devices: &[(&NewDevice, i64)],
    at: i64,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO devices (tenant_id, device_id, since, version, created_at, name, device_group, labels)
         VALUES {}",
        placeholders(8, devices.len())
    );
    let tenant = tenant.to_string();
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for (device, since) in devices {
        query = query
            .bind(tenant.as_str())
            .bind(device.id.as_str())
            .bind(*since)
            .bind(*since)
            .bind(at)
            .bind(device.details.name.as_str())
            .bind(device.details.group.as_str())
            .bind(to_json(&device.details.labels)?);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("registering devices")?;
    Ok(())
}

async fn insert_tokens(
    tx: &mut Tx,
    tenant: TenantId,
    tokens: &[(&NewDevice, &NewToken)],
    at: i64,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO credentials (tenant_id, credential_id, device_id, kind, token_hash, created_at)
         VALUES {}",
        placeholders(6, tokens.len())
    );
    let tenant = tenant.to_string();
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for (device, token) in tokens {
        query = query
            .bind(tenant.as_str())
            .bind(token.credential.to_string())
            .bind(device.id.as_str())
            .bind("token")
            .bind(hex(&token.hash))
            .bind(at);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("creating the tokens of devices")?;
    Ok(())
}

/// Those of the devices that the tenant has already.
async fn existing(tx: &mut Tx, tenant: TenantId, devices: &[NewDevice]) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for chunk in chunks(devices) {
        let ids = list(2, chunk.len());
        let sql =
            format!("SELECT device_id FROM devices WHERE tenant_id = $1 AND device_id IN ({ids})");
        // Planned for the table as it is: a plan that is kept from when it was small would read
        // all of it, once it is large, for each of the ids.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .persistent(false)
            .bind(tenant.to_string());
        for device in chunk {
            query = query.bind(device.id.as_str());
        }
        let rows = query
            .fetch_all(&mut *tx.inner)
            .await
            .doing("looking for devices")?;
        for row in rows {
            found.insert(row.try_get("device_id").doing("looking for devices")?);
        }
    }
    Ok(found)
}
