//! Devices.

mod erase;
mod labels;
mod list;
mod many;
mod seen;

use std::fmt;

use laneway_schemas::ControlKind;
use laneway_tenancy::control::DeviceBody;
use laneway_tenancy::details::Labels;
use laneway_tenancy::{CredentialId, DeviceDetails, DeviceId, TenantScope};
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::to_json;
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};

pub use erase::ErasedDevice;
pub use list::DeviceFilter;
pub(crate) use many::insert;

#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub id: DeviceId,
    /// The control version that registered it.
    pub since: i64,
    /// The control version that changed it last.
    pub version: i64,
    pub created_at: i64,
    pub details: DeviceDetails,
    /// Its credentials let it do nothing.
    pub disabled: bool,
    pub seen: Option<Seen>,
}

/// What the projection has seen of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Event time of its latest fix.
    pub recorded_at: i64,
    /// When the last fix to arrive was received.
    pub received_at: Option<i64>,
}

#[derive(Clone)]
pub struct NewDevice {
    pub id: DeviceId,
    /// Checked by the caller.
    pub details: DeviceDetails,
    /// A token that it gets at once.
    pub token: Option<NewToken>,
}

#[derive(Clone)]
pub struct NewToken {
    pub credential: CredentialId,
    /// The keyed hash.
    pub hash: [u8; 32],
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewToken({})", self.credential)
    }
}

/// What came of one device of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// By this control version.
    Created {
        since: i64,
    },
    Exists,
    /// The tenant has as many as it may have.
    OverLimit {
        most: u64,
    },
}

/// What is to be different of a device; `None` for what stays.
#[derive(Debug, Clone, Default)]
pub struct DeviceChange {
    pub name: Option<String>,
    pub group: Option<String>,
    /// All of them.
    pub labels: Option<Labels>,
    pub disabled: Option<bool>,
}

/// The devices of one tenant.
pub struct Devices<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Devices<'_> {
    /// A device of which nothing is said but its id.
    pub async fn create(&self, id: &DeviceId, at: i64) -> Result<Device> {
        let new = NewDevice {
            id: id.clone(),
            details: DeviceDetails::default(),
            token: None,
        };
        self.register(new, at).await
    }

    pub async fn register(&self, new: NewDevice, at: i64) -> Result<Device> {
        let all = [new];
        let outcome = self.register_many(&all, at).await?.pop();
        let [NewDevice { id, details, .. }] = all;
        match outcome {
            Some(Registered::Created { since }) => Ok(Device {
                id,
                since,
                version: since,
                created_at: at,
                details,
                disabled: false,
                seen: None,
            }),
            Some(Registered::OverLimit { most }) => Err(StoreError::LimitReached {
                limit: "devices",
                most,
            }),
            Some(Registered::Exists) | None => Err(StoreError::Exists {
                what: format!("device {id}"),
            }),
        }
    }

    /// Changes it where `judge` says so, which is given the device as it is.
    pub async fn change<E: From<StoreError>>(
        &self,
        id: &DeviceId,
        at: i64,
        judge: impl FnOnce(&Device) -> std::result::Result<DeviceChange, E>,
    ) -> std::result::Result<Device, E> {
        let tenant = self.scope.tenant();
        // First: who is told that it cannot be read has changed nothing.
        let seen = self.last_seen(&[id]).await?.remove(id.as_str());
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let mut device = list::one(&mut tx, tenant, id)
            .await?
            .ok_or_else(|| missing(id))?;
        let change = judge(&device)?;
        let details = &mut device.details;
        details.name = change.name.unwrap_or_else(|| details.name.clone());
        details.group = change.group.unwrap_or_else(|| details.group.clone());
        if let Some(new) = change.labels {
            labels::remove(&mut tx, tenant, id).await?;
            labels::insert(&mut tx, tenant, &[(id, &new)]).await?;
            details.labels = new;
        }
        device.disabled = change.disabled.unwrap_or(device.disabled);
        device.version = version;
        device.seen = seen;
        sqlx::query(
            "UPDATE devices SET name = $3, device_group = $4, labels = $5, disabled = $6, version = $7
             WHERE tenant_id = $1 AND device_id = $2",
        )
        .bind(tenant.to_string())
        .bind(id.as_str())
        .bind(device.details.name.as_str())
        .bind(device.details.group.as_str())
        .bind(to_json(&device.details.labels)?)
        .bind(i64::from(device.disabled))
        .bind(version)
        .execute(&mut *tx.inner)
        .await
        .doing("changing a device")?;
        let body = Some(to_json(&DeviceBody {
            since: device.since,
            disabled: device.disabled,
        })?);
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Device,
                id: id.as_str(),
                deleted: false,
                body,
                at,
            },
        )
        .await?;
        self.store.commit_change(tx).await?;
        Ok(device)
    }

    /// Removes a device with its credentials. What it sent stays.
    pub async fn delete(&self, id: &DeviceId, at: i64) -> Result<()> {
        let mut tx = self
            .store
            .write(Access::Tenant(self.scope.tenant()))
            .await?;
        remove(&mut tx, self.scope, id, at).await?;
        self.store.commit_change(tx).await
    }
}

async fn remove(tx: &mut Tx, scope: &TenantScope, id: &DeviceId, at: i64) -> Result<()> {
    let tenant = scope.tenant();
    let version = next_version(tx, tenant).await?;
    let since = lock(tx, scope, id).await?;
    let body = Some(to_json(&DeviceBody {
        since,
        disabled: false,
    })?);
    let change = Change {
        tenant,
        version,
        kind: ControlKind::Device,
        id: id.as_str(),
        deleted: true,
        body,
        at,
    };
    emit(tx, change).await?;
    crate::credentials::delete_of_device(tx, scope, id, at).await?;
    labels::remove(tx, tenant, id).await?;
    for table in ["enrolments", "devices"] {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "DELETE FROM {table} WHERE tenant_id = $1 AND device_id = $2"
        )))
        .bind(tenant.to_string())
        .bind(id.as_str())
        .execute(&mut *tx.inner)
        .await
        .doing("removing a device")?;
    }
    Ok(())
}

/// The version that registered the device; fails where the tenant has none such. Changes of a
/// tenant take turns at its own row, so that it stays until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, scope: &TenantScope, id: &DeviceId) -> Result<i64> {
    let row = sqlx::query("SELECT since FROM devices WHERE tenant_id = $1 AND device_id = $2")
        .bind(scope.tenant().to_string())
        .bind(id.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a device")?
        .ok_or_else(|| missing(id))?;
    row.try_get("since").doing("looking for a device")
}

fn missing(id: &DeviceId) -> StoreError {
    StoreError::Missing {
        what: format!("device {id}"),
    }
}
