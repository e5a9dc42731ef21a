//! Proofs of hosts, and what follows from them.

use laneway_tenancy::HostPattern;
use laneway_tenancy::control::HostState;

use super::{COLUMNS, Host, HostProof, Hosts, announce, find, missing, read};
use crate::codec::variant_name;
use crate::error::{Doing, Result, StoreError};
use crate::homes::{Claim, claim_host, release_host};
use crate::outbox::next_version;

impl Hosts<'_> {
    /// Notes a proof. One that succeeds makes the host live, unless it is another tenant's:
    /// [`StoreError::Exists`]. A change of state is told to all roles.
    pub async fn note(&self, host: &HostPattern, proof: HostProof) -> Result<Host> {
        let tenant = self.scope.tenant();
        // Elsewhere the main database says whose a live host is.
        let apart = self.store.home_apart(tenant).await?.is_some();
        let claim = match proof.outcome {
            Ok(()) if apart => Some(claim_host(self.store, tenant, host, proof.at).await?),
            _ => None,
        };
        let noted = self.note_in(host, proof, claim).await;
        let may_be_live = match &noted {
            Ok(noted) => noted.state == HostState::Live,
            Err(error) => error.is_transient(),
        };
        if apart && !may_be_live {
            self.release(host).await;
        }
        noted
    }

    async fn note_in(
        &self,
        host: &HostPattern,
        proof: HostProof,
        claim: Option<Claim>,
    ) -> Result<Host> {
        let tenant = self.scope.tenant();
        let mut tx = self.write().await?;
        let found = find(&mut tx, self.scope.tenant(), host).await?;
        let old = found.ok_or_else(|| missing(host))?.state;
        let state = match &proof.outcome {
            Ok(()) => HostState::Live,
            Err(_) if proof.stops && old == HostState::Live => HostState::Failing,
            Err(_) => old,
        };
        let version = if state == old {
            None
        } else {
            Some(next_version(&mut tx, tenant).await?)
        };
        let proved_at = proof.outcome.is_ok().then_some(proof.at);
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE hosts SET state = $3, checked_at = $4, proved_at = COALESCE($5, proved_at),
             problem = $6, next_check_at = $7 WHERE tenant_id = $1 AND host = $2 RETURNING {COLUMNS}"
        )))
        .bind(tenant.to_string())
        .bind(host.as_str())
        .bind(variant_name(&state)?)
        .bind(proof.at)
        .bind(proved_at)
        .bind(proof.outcome.err())
        .bind(proof.next)
        .fetch_optional(&mut *tx.inner)
        .await;
        let row = match row {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Err(StoreError::Exists {
                    what: format!("the host {host}, live for another tenant,"),
                });
            }
            row => row.doing("noting the proof of a host")?,
        };
        let noted = read(&row.ok_or_else(|| missing(host))?)?;
        if let Some(version) = version {
            announce(&mut tx, tenant, &noted, version, proof.at).await?;
        }
        if let Some(claim) = claim {
            claim.check()?;
        }
        self.store.commit_change(tx).await?;
        Ok(noted)
    }

    /// What fails is swept.
    pub(super) async fn release(&self, host: &HostPattern) {
        let released = release_host(self.store, self.scope.tenant(), host).await;
        if let Err(error) = released {
            tracing::debug!(%error, %host, "a host is released later");
        }
    }
}
