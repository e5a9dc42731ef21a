//! Hosts of all tenants, for the platform's own work: proving them again, and showing their
//! certificates.

use laneway_tenancy::control::HostState;
use laneway_tenancy::{HostPattern, TenantId};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{COLUMNS, Host, read, row_name};
use crate::Store;
use crate::access::Access;
use crate::codec::{Named, variant_name};
use crate::error::{Doing, Result};
use crate::homes::NEVER;

/// The certificate of a live host.
pub struct HostCertificate {
    pub host: HostPattern,
    /// PEM.
    pub chain: String,
    /// PEM, in the clear.
    pub key: String,
}

impl std::fmt::Debug for HostCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostCertificate")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

pub struct HostProofs<'a> {
    pub(crate) store: &'a Store,
}

const CERTIFICATES: &str =
    "SELECT tenant_id, host, certificate, private_key, next_check_at FROM hosts WHERE state = $1";

impl HostProofs<'_> {
    /// Hosts that were proved once and are to be proved again by now, the longest due first; but
    /// those whose database is away.
    pub async fn due(&self, now: i64, limit: u32) -> Result<Vec<(TenantId, Host)>> {
        let tenant = |(_, tenant, _): &(i64, TenantId, Host)| *tenant;
        let ask = |store| due(store, now, limit);
        let mut due = self.store.of_each(tenant, ask).await?;
        due.sort_by_key(|(due_at, _, _)| *due_at);
        due.truncate(limit as usize);
        let due = due.into_iter().map(|(_, tenant, host)| (tenant, host));
        Ok(due.collect())
    }

    /// Live hosts that may have a certificate by name, after `after`, with what comes of looking
    /// for it: an error where it is damaged, or its database is away.
    pub async fn certificates(
        &self,
        after: Option<&HostPattern>,
        limit: u32,
    ) -> Result<Vec<(HostPattern, Result<Option<HostCertificate>>)>> {
        const DOING: &str = "reading the certificates of hosts";
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{CERTIFICATES} AND host > $2 AND (certificate IS NOT NULL OR next_check_at = $4)
             ORDER BY host LIMIT $3"
        )))
        .bind(variant_name(&HostState::Live)?)
        .bind(after.map_or("", HostPattern::as_str))
        .bind(i64::from(limit))
        .bind(NEVER)
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
        tx.commit().await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            let name: String = row.try_get("host").doing(DOING)?;
            let host = Named::new("hosts", &name, row).parse("host")?;
            let certificate = self.certificate_of(row).await;
            all.push((host, certificate));
        }
        Ok(all)
    }

    /// The certificate of a host; none where it is not live, or has none of its own.
    pub async fn certificate(&self, host: &HostPattern) -> Result<Option<HostCertificate>> {
        match live(self.store, Access::Platform, host.as_str()).await? {
            Some(row) => self.certificate_of(&row).await,
            None => Ok(None),
        }
    }

    /// Of a row of the main database, which may be a copy.
    async fn certificate_of(&self, row: &AnyRow) -> Result<Option<HostCertificate>> {
        let id: String = row.try_get("host").doing("reading a certificate")?;
        let copy = Named::new("hosts", &id, row);
        if copy.get::<i64>("next_check_at")? != NEVER {
            return self.certificate_in(row);
        }
        let tenant = Access::Tenant(copy.parse("tenant_id")?);
        match live(self.store, tenant, &id).await? {
            Some(row) => self.certificate_in(&row),
            None => Ok(None),
        }
    }

    fn certificate_in(&self, row: &AnyRow) -> Result<Option<HostCertificate>> {
        let id: String = row.try_get("host").doing("reading a certificate")?;
        let row = Named::new("hosts", &id, row);
        let Some(chain) = row.get("certificate")? else {
            return Ok(None);
        };
        let tenant: String = row.get("tenant_id")?;
        let sealed: Vec<u8> = row.get("private_key")?;
        let secrets = &self.store.0.secrets;
        Ok(Some(HostCertificate {
            host: row.parse("host")?,
            chain,
            key: secrets.open("hosts", &row_name(&tenant, &id), &sealed)?,
        }))
    }
}

/// The row of a live host.
async fn live(store: &Store, access: Access, host: &str) -> Result<Option<AnyRow>> {
    let mut tx = store.read(access).await?;
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{CERTIFICATES} AND host = $2")))
        .bind(variant_name(&HostState::Live)?)
        .bind(host)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("reading the certificate of a host")?;
    tx.commit().await?;
    Ok(row)
}

/// Those of one database, with when they are due.
async fn due(store: Store, now: i64, limit: u32) -> Result<Vec<(i64, TenantId, Host)>> {
    let mut tx = store.read(Access::Platform).await?;
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS}, next_check_at FROM hosts WHERE state <> $1 AND next_check_at <= $2
         ORDER BY next_check_at LIMIT $3"
    )))
    .bind(variant_name(&HostState::Pending)?)
    .bind(now)
    .bind(i64::from(limit))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("looking for hosts to prove again")?;
    tx.commit().await?;
    rows.iter()
        .map(|row| {
            let host = read(row)?;
            let row = Named::new("hosts", host.host.as_str(), row);
            let (due_at, tenant) = (row.get("next_check_at")?, row.parse("tenant_id")?);
            Ok((due_at, tenant, host))
        })
        .collect()
}
