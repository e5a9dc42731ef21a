//! Tenants that have topics of their own: each such set is one tenant's, with those below it.

use laneway_tenancy::Placement;
use laneway_tenancy::control::RoleAuthority;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};

/// Whose a topic set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedicated {
    pub set: String,
    pub slug: String,
    pub placement: Placement,
}

impl Store {
    /// The topic sets that tenants have to themselves.
    pub async fn dedicated(&self, _authority: &RoleAuthority) -> Result<Vec<Dedicated>> {
        const DOING: &str = "looking for tenants with topics of their own";
        let mut tx = self.read(Access::Platform).await?;
        let rows = sqlx::query(
            "SELECT tenant_id, slug, topic_set, placement FROM tenants
             WHERE topic_set <> '' AND parent IS NULL AND state <> 'closed' ORDER BY topic_set",
        )
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
        tx.commit().await?;
        let dedicated = rows.iter().map(|row| {
            let id: String = row.try_get("tenant_id").doing(DOING)?;
            let row = Named::new("tenants", &id, row);
            Ok(Dedicated {
                set: row.get("topic_set")?,
                slug: row.get("slug")?,
                placement: row.json("placement")?,
            })
        });
        dedicated.collect()
    }
}

/// Refuses a set that another tenant has, which an index has kept out.
pub(super) async fn check_free(tx: &mut Tx, set: &str) -> Result<()> {
    let taken = sqlx::query(
        "SELECT slug FROM tenants WHERE topic_set = $1 AND parent IS NULL AND state <> 'closed'",
    )
    .bind(set)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking whose a topic set is")?;
    if taken.is_none() {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "the topics {set} are another tenant's"
    )))
}
