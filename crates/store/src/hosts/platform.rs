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

const CERTIFICATES: &str = "SELECT tenant_id, host, certificate, private_key FROM hosts WHERE state = $1 AND certificate IS NOT NULL";

impl HostProofs<'_> {
    /// Hosts that were proved once and are to be proved again by now, the longest due first.
    pub async fn due(&self, now: i64, limit: u32) -> Result<Vec<(TenantId, Host)>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM hosts WHERE state <> $1 AND next_check_at <= $2
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
                let tenant = Named::new("hosts", host.host.as_str(), row).parse("tenant_id")?;
                Ok((tenant, host))
            })
            .collect()
    }

    /// Live hosts with a certificate by name, after `after`; without it where it is damaged.
    pub async fn certificates(
        &self,
        after: Option<&HostPattern>,
        limit: u32,
    ) -> Result<Vec<(HostPattern, Option<HostCertificate>)>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{CERTIFICATES} AND host > $2 ORDER BY host LIMIT $3"
        )))
        .bind(variant_name(&HostState::Live)?)
        .bind(after.map_or("", HostPattern::as_str))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("reading the certificates of hosts")?;
        tx.commit().await?;
        let read = |row: &AnyRow| {
            let name: String = row.try_get("host").doing("reading a certificate")?;
            let host = Named::new("hosts", &name, row).parse("host")?;
            let certificate = self.certificate_in(row).inspect_err(|error| {
                tracing::error!(%error, "the certificate of a host cannot be read");
            });
            Ok((host, certificate.ok()))
        };
        rows.iter().map(read).collect()
    }

    /// The certificate of a host; none where it is not live, or has none of its own.
    pub async fn certificate(&self, host: &HostPattern) -> Result<Option<HostCertificate>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{CERTIFICATES} AND host = $2")))
            .bind(variant_name(&HostState::Live)?)
            .bind(host.as_str())
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("reading the certificate of a host")?;
        tx.commit().await?;
        row.map(|row| self.certificate_in(&row)).transpose()
    }

    fn certificate_in(&self, row: &AnyRow) -> Result<HostCertificate> {
        let id: String = row.try_get("host").doing("reading a certificate")?;
        let row = Named::new("hosts", &id, row);
        let tenant: String = row.get("tenant_id")?;
        let sealed: Vec<u8> = row.get("private_key")?;
        let secrets = &self.store.0.secrets;
        Ok(HostCertificate {
            host: row.parse("host")?,
            chain: row.get("certificate")?,
            key: secrets.open("hosts", &row_name(&tenant, &id), &sealed)?,
        })
    }
}
