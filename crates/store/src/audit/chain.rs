//! Appending to a chain, inside a transaction.
//!
//! Invariant: whoever appends holds the row of the chain's head until its transaction ends, so
//! that numbers and hashes have neither gaps nor forks. A transaction takes the tenants' own rows
//! before, and the heads of several tenants in the order of their ids: no two wait for each other.

use std::collections::BTreeMap;

use laneway_tenancy::{Random, SystemRandom, TenantId};
use serde::Serialize;
use sqlx::Row;

use super::entry::{AuditEntry, Commitments, Facts, NO_HASH, Opened, Salted};
use super::origin::{Personal, current};
use crate::access::Tx;
use crate::codec::{hex, to_json};
use crate::error::{Doing, Result, StoreError};

/// Bytes of ids that an entry names; what is beyond is counted.
const NAMED_BYTES: usize = 16 * 1024;

/// Something that a transaction has changed.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) tenant: TenantId,
    /// `device`, `key` and so on.
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) deleted: bool,
    pub(crate) at: i64,
}

#[derive(Serialize)]
struct Changes<'a> {
    changes: Vec<Changed<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[derive(Serialize)]
struct Changed<'a> {
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Records what the transaction has changed: an entry in the chain of each tenant.
pub(crate) async fn record_changes(tx: &mut Tx) -> Result<()> {
    let touched = std::mem::take(&mut tx.touched);
    let mut by_tenant: BTreeMap<TenantId, Vec<&Touched>> = BTreeMap::new();
    for change in &touched {
        by_tenant.entry(change.tenant).or_default().push(change);
    }
    let origin = current();
    for (tenant, changes) in by_tenant {
        let at = changes.last().map_or(0, |change| change.at);
        let mut facts = match &origin {
            Some(origin) => origin.facts("done", at),
            // The platform's own work: its tenant is made at the first start.
            None => Facts {
                at,
                action: "change".to_owned(),
                outcome: "done".to_owned(),
                principal: "role:platform".to_owned(),
                count: 1,
                first_at: at,
                last_at: at,
                ..Facts::default()
            },
        };
        facts.request_tenant = tenant.to_string();
        facts.detail = detail(&changes)?;
        let personal = origin.as_ref().map(|o| o.personal().clone());
        append(tx, tenant, facts, &personal.unwrap_or_default()).await?;
    }
    Ok(())
}

fn detail(changes: &[&Touched]) -> Result<String> {
    let mut named = Vec::new();
    let mut bytes = 0;
    for change in changes {
        bytes += change.id.len() + 32;
        if bytes > NAMED_BYTES {
            break;
        }
        named.push(Changed {
            kind: &change.kind,
            id: &change.id,
            deleted: change.deleted,
        });
    }
    let more = changes.len() - named.len();
    to_json(&Changes {
        changes: named,
        more,
    })
}

/// Appends an entry. Who reads it later sees it if and only if the transaction is committed.
pub(crate) async fn append(
    tx: &mut Tx,
    tenant: TenantId,
    facts: Facts,
    personal: &Personal,
) -> Result<AuditEntry> {
    let tenant_text = tenant.to_string();
    let (seq, previous) = lock_head(tx, &tenant_text).await?;
    let opened = Opened {
        address: personal.address.as_deref().map(salted),
        user_agent: personal.user_agent.as_deref().map(salted),
        name: personal.name.as_deref().map(salted),
    };
    let commit = |value: &Option<Salted>, field: &str| {
        let commitment = value.as_ref().map(|salted| salted.commitment(field));
        commitment.unwrap_or_default()
    };
    let mut entry = AuditEntry {
        tenant: tenant_text,
        seq: seq + 1,
        facts,
        commitments: Commitments {
            address: commit(&opened.address, "address"),
            user_agent: commit(&opened.user_agent, "user_agent"),
            name: commit(&opened.name, "name"),
        },
        previous,
        hash: String::new(),
        personal: opened,
    };
    entry.hash = entry.computed_hash();
    insert(tx, &entry).await?;
    insert_personal(tx, &entry).await?;
    sqlx::query("UPDATE audit_heads SET seq = $2, hash = $3 WHERE tenant_id = $1")
        .bind(entry.tenant.as_str())
        .bind(entry.seq)
        .bind(entry.hash.as_str())
        .execute(&mut *tx.inner)
        .await
        .doing("moving the head of an audit trail")?;
    Ok(entry)
}

/// The chain's length and last hash. Its row, made where it is missing, is locked.
async fn lock_head(tx: &mut Tx, tenant: &str) -> Result<(i64, String)> {
    const DOING: &str = "locking the head of an audit trail";
    let row = sqlx::query(
        "INSERT INTO audit_heads (tenant_id, seq, hash) VALUES ($1, 0, $2)
         ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_heads.seq
         RETURNING seq, hash",
    )
    .bind(tenant)
    .bind(NO_HASH)
    .fetch_one(&mut *tx.inner)
    .await
    .doing(DOING)?;
    Ok((
        row.try_get("seq").doing(DOING)?,
        row.try_get("hash").doing(DOING)?,
    ))
}

async fn insert(tx: &mut Tx, entry: &AuditEntry) -> Result<()> {
    let f = &entry.facts;
    let inserted = sqlx::query(
        "INSERT INTO audit_entries
         (tenant_id, seq, at, action, target, outcome, principal, principal_tenant,
          request_tenant, request_id, count, first_at, last_at, detail,
          address, user_agent, name, previous, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(entry.tenant.as_str())
    .bind(entry.seq)
    .bind(f.at)
    .bind(f.action.as_str())
    .bind(f.target.as_str())
    .bind(f.outcome.as_str())
    .bind(f.principal.as_str())
    .bind(f.principal_tenant.as_str())
    .bind(f.request_tenant.as_str())
    .bind(f.request_id.as_str())
    .bind(f.count)
    .bind(f.first_at)
    .bind(f.last_at)
    .bind(f.detail.as_str())
    .bind(entry.commitments.address.as_str())
    .bind(entry.commitments.user_agent.as_str())
    .bind(entry.commitments.name.as_str())
    .bind(entry.previous.as_str())
    .bind(entry.hash.as_str())
    .execute(&mut *tx.inner)
    .await
    .doing("appending to an audit trail")?;
    if inserted.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Unavailable {
            doing: "appending to an audit trail",
            reason: "the entry was not taken".to_owned(),
        })
    }
}

/// Of a tenant that is being closed nothing personal is kept any more: what was refused is written
/// up to a minute later.
async fn insert_personal(tx: &mut Tx, entry: &AuditEntry) -> Result<()> {
    let opened = &entry.personal;
    for (field, salted) in [
        ("address", &opened.address),
        ("user_agent", &opened.user_agent),
        ("name", &opened.name),
    ] {
        let Some(salted) = salted else { continue };
        sqlx::query(
            "INSERT INTO audit_personal (tenant_id, seq, field, principal, salt, value)
             SELECT $1, $2, $3, $4, $5, $6
             WHERE NOT EXISTS (SELECT 1 FROM closures WHERE tenant_id = $1)",
        )
        .bind(entry.tenant.as_str())
        .bind(entry.seq)
        .bind(field)
        .bind(entry.facts.principal.as_str())
        .bind(salted.salt.as_str())
        .bind(salted.value.as_str())
        .execute(&mut *tx.inner)
        .await
        .doing("keeping what is personal of an audit entry")?;
    }
    Ok(())
}

/// A salt that nobody can guess, so that a commitment says nothing once it is erased.
fn salted(value: &str) -> Salted {
    let mut salt = [0; 32];
    SystemRandom.fill(&mut salt);
    Salted {
        salt: hex(&salt),
        value: value.to_owned(),
    }
}
