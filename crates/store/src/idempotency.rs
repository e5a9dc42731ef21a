//! What was answered to creations, so that one that is asked for again is not made again.

use laneway_tenancy::{OperatorScope, TenantId, TenantScope};

use crate::Store;
use crate::access::Access;
use crate::codec::{Named, hex};
use crate::error::{Doing, Result};

/// The answers to one tenant's requests, or to the operator's.
pub struct IdempotentAnswers<'a> {
    pub(crate) store: &'a Store,
    owner: Option<TenantId>,
}

/// Of the operator of the machine, who is no tenant.
const OPERATOR: &str = "operator";

/// What is known of a request when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: it is to be carried out, and then finished or given up.
    First,
    /// It was carried out: what was answered.
    Answered { status: u16, answer: String },
    /// It was begun `since` then, and not ended.
    AtWork { since: i64 },
    /// The key was used for another request.
    Other,
}

impl Store {
    pub fn idempotent_answers<'a>(&'a self, scope: &TenantScope) -> IdempotentAnswers<'a> {
        IdempotentAnswers {
            store: self,
            owner: Some(scope.tenant()),
        }
    }

    pub fn operators_idempotent_answers<'a>(
        &'a self,
        _operator: &OperatorScope,
    ) -> IdempotentAnswers<'a> {
        IdempotentAnswers {
            store: self,
            owner: None,
        }
    }
}

impl IdempotentAnswers<'_> {
    fn access(&self) -> Access {
        self.owner.map_or(Access::Platform, Access::Tenant)
    }

    fn owner(&self) -> String {
        self.owner
            .map_or_else(|| OPERATOR.to_owned(), |tenant| tenant.to_string())
    }

    /// What a sealed answer is bound to.
    fn row(&self, key: &str) -> String {
        format!("{}/{key}", self.owner())
    }

    /// Takes a key for a request.
    pub async fn begin(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        now: i64,
        lifetime_us: i64,
    ) -> Result<Begun> {
        let fingerprint = hex(fingerprint);
        let mut tx = self.store.write(self.access()).await?;
        sqlx::query("DELETE FROM idempotent_answers WHERE tenant_id = $1 AND expires_at <= $2")
            .bind(self.owner())
            .bind(now)
            .execute(&mut *tx.inner)
            .await
            .doing("forgetting answers that are too old")?;
        let taken = sqlx::query(
            "INSERT INTO idempotent_answers (tenant_id, key, fingerprint, status, expires_at)
             VALUES ($1, $2, $3, 0, $4) ON CONFLICT DO NOTHING",
        )
        .bind(self.owner())
        .bind(key)
        .bind(&fingerprint)
        .bind(now + lifetime_us)
        .execute(&mut *tx.inner)
        .await
        .doing("taking an idempotency key")?;
        let begun = match taken.rows_affected() {
            0 => {
                let row = sqlx::query(
                    "SELECT fingerprint, status, answer, expires_at FROM idempotent_answers WHERE tenant_id = $1 AND key = $2",
                )
                .bind(self.owner())
                .bind(key)
                .fetch_one(&mut *tx.inner)
                .await
                .doing("looking for an earlier answer")?;
                self.known(key, &fingerprint, lifetime_us, &row)?
            }
            _ => Begun::First,
        };
        tx.commit().await?;
        Ok(begun)
    }

    fn known(
        &self,
        key: &str,
        fingerprint: &str,
        lifetime_us: i64,
        row: &sqlx::any::AnyRow,
    ) -> Result<Begun> {
        let name = self.row(key);
        let row = Named::new("idempotent_answers", &name, row);
        let status = u16::try_from(row.get::<i64>("status")?).unwrap_or(0);
        if row.get::<String>("fingerprint")? != fingerprint {
            return Ok(Begun::Other);
        }
        if status == 0 {
            let since = row.get::<i64>("expires_at")? - lifetime_us;
            return Ok(Begun::AtWork { since });
        }
        let sealed: Vec<u8> = row.get("answer")?;
        let secrets = &self.store.0.secrets;
        Ok(Begun::Answered {
            status,
            answer: secrets.open("idempotent_answers", &name, &sealed)?,
        })
    }

    /// Keeps what was answered; it may hold secrets.
    pub async fn finish(&self, key: &str, status: u16, answer: &str) -> Result<()> {
        let sealed = self.store.0.secrets.seal(&self.row(key), answer)?;
        let mut tx = self.store.write(self.access()).await?;
        sqlx::query(
            "UPDATE idempotent_answers SET status = $3, answer = $4 WHERE tenant_id = $1 AND key = $2",
        )
        .bind(self.owner())
        .bind(key)
        .bind(i64::from(status))
        .bind(sealed)
        .execute(&mut *tx.inner)
        .await
        .doing("keeping an answer")?;
        tx.commit().await
    }

    /// Frees the key of a request that came to nothing.
    pub async fn give_up(&self, key: &str) -> Result<()> {
        let mut tx = self.store.write(self.access()).await?;
        sqlx::query(
            "DELETE FROM idempotent_answers WHERE tenant_id = $1 AND key = $2 AND status = 0",
        )
        .bind(self.owner())
        .bind(key)
        .execute(&mut *tx.inner)
        .await
        .doing("freeing an idempotency key")?;
        tx.commit().await
    }
}
