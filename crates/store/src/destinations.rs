//! Destinations. Their secrets are encrypted.

use laneway_schemas::ControlKind;
use laneway_tenancy::control::{DestinationBody, DestinationState};
use laneway_tenancy::{DestinationId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::Access;
use crate::codec::{Named, to_json, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};
use crate::room::{Counted, room};

#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    pub id: DestinationId,
    pub body: DestinationBody,
    pub url: String,
    /// The control version of its last change.
    pub version: i64,
}

#[derive(Debug, Clone)]
pub struct NewDestination {
    pub id: DestinationId,
    pub body: DestinationBody,
    pub url: String,
    /// In the clear; stored encrypted.
    pub secret: String,
}

/// The destinations of one tenant.
pub struct Destinations<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str = "SELECT destination_id, kind, url, event_types, devices, state, version, created_at FROM destinations";

impl Destinations<'_> {
    pub async fn create(&self, new: NewDestination) -> Result<Destination> {
        let at = new.body.created_at;
        let tenant = self.scope.tenant();
        let id_text = new.id.to_string();
        let sealed = self
            .store
            .0
            .secrets
            .seal(&self.row_name(new.id), &new.secret)?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        room(&mut tx, tenant, Counted::Destinations)
            .await?
            .for_one()?;
        sqlx::query(
            "INSERT INTO destinations
             (tenant_id, destination_id, kind, url, secret, event_types, devices, state, version, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(tenant.to_string())
        .bind(id_text.as_str())
        .bind(new.body.kind.as_str())
        .bind(new.url.as_str())
        .bind(sealed)
        .bind(to_json(&new.body.event_types)?)
        .bind(to_json(&new.body.devices)?)
        .bind(variant_name(&new.body.state)?)
        .bind(version)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("creating a destination")?;
        let body = Some(to_json(&new.body)?);
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Destination,
                id: &id_text,
                deleted: false,
                body,
                at,
            },
        )
        .await?;
        self.store.commit_change(tx).await?;
        Ok(Destination {
            id: new.id,
            body: new.body,
            url: new.url,
            version,
        })
    }

    pub async fn find(&self, id: DestinationId) -> Result<Option<Destination>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND destination_id = $2"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(id.to_string())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a destination")?;
        tx.commit().await?;
        row.as_ref().map(destination).transpose()
    }

    /// Destinations by id, after `after`.
    pub async fn list(&self, after: Option<DestinationId>, limit: u32) -> Result<Vec<Destination>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND destination_id > $2 ORDER BY destination_id LIMIT $3"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing destinations")?;
        tx.commit().await?;
        rows.iter().map(destination).collect()
    }

    /// The secret in the clear, for signing.
    pub async fn secret(&self, id: DestinationId) -> Result<Option<String>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let row = sqlx::query(
            "SELECT secret FROM destinations WHERE tenant_id = $1 AND destination_id = $2",
        )
        .bind(self.scope.tenant().to_string())
        .bind(id.to_string())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("reading the secret of a destination")?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let name = self.row_name(id);
        let sealed: Vec<u8> = Named::new("destinations", &name, &row).get("secret")?;
        self.store
            .0
            .secrets
            .open("destinations", &name, &sealed)
            .map(Some)
    }

    /// Turns one on or off; [`StoreError::Changed`] where it is not at `expected` any more.
    pub async fn set_state(
        &self,
        id: DestinationId,
        expected: Option<i64>,
        state: DestinationState,
        at: i64,
    ) -> Result<Destination> {
        let tenant = self.scope.tenant();
        let id_text = id.to_string();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let before = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND destination_id = $2"
        )))
        .bind(tenant.to_string())
        .bind(id_text.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a destination")?
        .ok_or_else(|| missing(id))?;
        let before = destination(&before)?.version;
        if expected.is_some_and(|expected| expected != before) {
            return Err(StoreError::Changed {
                what: format!("destination {id}"),
            });
        }
        let row = sqlx::query(
            "UPDATE destinations SET state = $3, version = $4 WHERE tenant_id = $1 AND destination_id = $2
             RETURNING destination_id, kind, url, event_types, devices, state, version, created_at",
        )
        .bind(tenant.to_string())
        .bind(id_text.as_str())
        .bind(variant_name(&state)?)
        .bind(version)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("changing the state of a destination")?
        .ok_or_else(|| missing(id))?;
        let changed = destination(&row)?;
        let body = Some(to_json(&changed.body)?);
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Destination,
                id: &id_text,
                deleted: false,
                body,
                at,
            },
        )
        .await?;
        self.store.commit_change(tx).await?;
        Ok(changed)
    }

    pub async fn delete(&self, id: DestinationId, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let id_text = id.to_string();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let deleted =
            sqlx::query("DELETE FROM destinations WHERE tenant_id = $1 AND destination_id = $2")
                .bind(tenant.to_string())
                .bind(id_text.as_str())
                .execute(&mut *tx.inner)
                .await
                .doing("deleting a destination")?;
        if deleted.rows_affected() == 0 {
            return Err(missing(id));
        }
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Destination,
                id: &id_text,
                deleted: true,
                body: None,
                at,
            },
        )
        .await?;
        self.store.commit_change(tx).await
    }

    /// What a secret is bound to.
    fn row_name(&self, id: DestinationId) -> String {
        format!("{}/{id}", self.scope.tenant())
    }
}

fn missing(id: DestinationId) -> StoreError {
    StoreError::Missing {
        what: format!("destination {id}"),
    }
}

fn destination(row: &AnyRow) -> Result<Destination> {
    let id: String = row
        .try_get("destination_id")
        .doing("reading a destination")?;
    let row = Named::new("destinations", &id, row);
    Ok(Destination {
        id: row.parse("destination_id")?,
        body: DestinationBody {
            kind: row.get("kind")?,
            state: row.variant("state")?,
            event_types: row.json("event_types")?,
            devices: row.json("devices")?,
            created_at: row.get("created_at")?,
        },
        url: row.get("url")?,
        version: row.get("version")?,
    })
}
