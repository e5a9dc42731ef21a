//! Erasing what a tenant has registered, with the tenant.

use laneway_tenancy::TenantId;

use super::register::lock;
use crate::Store;
use crate::access::Access;
use crate::error::{Doing, Result};

/// Each before what it refers to. Nobody else's schemas refer to a tenant's.
const OF_OWNER: [&str; 3] = [
    "DELETE FROM schema_levels WHERE subject IN
        (SELECT subject FROM schema_subjects WHERE owner = $1)",
    "DELETE FROM schema_versions WHERE subject IN
        (SELECT subject FROM schema_subjects WHERE owner = $1)",
    "DELETE FROM schema_subjects WHERE owner = $1",
];
/// What is registered nowhere any more, whoever had it. Its ids are never given again.
const LEFT_OVER: [&str; 2] = [
    "DELETE FROM schema_references WHERE NOT EXISTS
        (SELECT 1 FROM schema_versions v WHERE v.schema_id = schema_references.schema_id)",
    "DELETE FROM schemas WHERE NOT EXISTS
        (SELECT 1 FROM schema_versions v WHERE v.schema_id = schemas.id)",
];

/// Erases the tenant's subjects with their schemas, where nobody else has them; how many rows there
/// were.
pub(crate) async fn erase(store: &Store, tenant: TenantId) -> Result<u64> {
    let doing = "erasing a tenant's schemas";
    let mut tx = store.write(Access::Shared).await?;
    lock(&mut tx).await?;
    let mut erased = 0;
    for sql in OF_OWNER {
        let done = sqlx::query(sql)
            .bind(tenant.to_string())
            .execute(&mut *tx.inner)
            .await
            .doing(doing)?;
        erased += done.rows_affected();
    }
    if erased > 0 {
        for sql in LEFT_OVER {
            let done = sqlx::query(sql)
                .execute(&mut *tx.inner)
                .await
                .doing(doing)?;
            erased += done.rows_affected();
        }
    }
    tx.commit().await?;
    Ok(erased)
}
