//! The embedded schema registry's storage, and a [`Registry`] over it.

mod check;
mod delete;
mod erase;
mod levels;
mod references;
mod register;

pub use check::NewSchema;
pub use delete::Deletion;
pub(crate) use erase::erase;
pub use references::SchemaReference;

use laneway_tenancy::TenantId;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::error::{Doing, Result, StoreError};

/// A schema as registered under a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredSchema {
    pub subject: String,
    /// Counts the versions of the subject, from 1.
    pub version: u32,
    /// The same schema has the same id under every subject.
    pub id: u32,
    pub schema: String,
    /// Where the types are that it names without defining them.
    pub references: Vec<SchemaReference>,
    /// Left out, unless it is asked for, until it is deleted for good.
    pub deleted: bool,
}

/// The registry as someone sees it. Cheap to clone.
#[derive(Clone)]
pub struct SchemaStore {
    store: Store,
    /// A tenant that sees the shared subjects and its own; the platform sees all.
    tenant: Option<TenantId>,
}

/// Rows that the one who asks may see, one for each reference: the first parameter is its id, `*`
/// for the platform.
const COLUMNS: &str = "SELECT v.subject, v.version, v.schema_id, v.deleted, s.schema,
        r.name AS of_name, r.subject AS of_subject, r.version AS of_version
    FROM schema_versions v
    JOIN schemas s ON s.id = v.schema_id
    JOIN schema_subjects o ON o.subject = v.subject
    LEFT JOIN schema_references r ON r.schema_id = v.schema_id
    WHERE ($1 = '*' OR o.owner = '' OR o.owner = $1)";
const IN_ORDER: &str = "ORDER BY v.subject, v.version, r.position";

const READING: &str = "reading the versions of a schema";

impl RegisteredSchema {
    /// As it was when it was to be registered.
    fn as_new(&self) -> NewSchema<'_> {
        NewSchema {
            schema: &self.schema,
            references: &self.references,
        }
    }
}

impl SchemaStore {
    pub(crate) fn new(store: Store, tenant: Option<TenantId>) -> Self {
        SchemaStore { store, tenant }
    }

    /// Subjects with versions; `deleted` counts those that are deleted, too.
    pub async fn subjects(&self, deleted: bool) -> Result<Vec<String>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let rows = sqlx::query(
            "SELECT o.subject FROM schema_subjects o
             WHERE ($1 = '*' OR o.owner = '' OR o.owner = $1) AND EXISTS (
                 SELECT 1 FROM schema_versions v WHERE v.subject = o.subject AND v.deleted <= $2)
             ORDER BY o.subject",
        )
        .bind(self.viewer())
        .bind(i64::from(deleted))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing schema subjects")?;
        tx.commit().await?;
        rows.iter()
            .map(|row| row.try_get(0).doing("listing schema subjects"))
            .collect()
    }

    /// Versions of a subject, oldest first, those that are deleted among them; empty where there
    /// is no such subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let found = versions(&mut tx, &self.viewer(), subject).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Where a schema is registered, deleted or not.
    pub async fn uses(&self, id: u32) -> Result<Vec<RegisteredSchema>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} AND v.schema_id = $2 {IN_ORDER}"
        )))
        .bind(self.viewer())
        .bind(i64::from(id))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("looking where a schema is used")?;
        tx.commit().await?;
        registered(&rows)
    }

    /// As it is registered under any subject.
    pub async fn by_id(&self, id: u32) -> Result<Option<RegisteredSchema>> {
        Ok(self.uses(id).await?.into_iter().next())
    }

    /// The version under which exactly this schema is registered, with these references.
    pub async fn lookup(
        &self,
        subject: &str,
        same: NewSchema<'_>,
    ) -> Result<Option<RegisteredSchema>> {
        let schema = normal(same.schema);
        let same = NewSchema {
            schema: &schema,
            ..same
        };
        let mut found = self.versions(subject).await?.into_iter();
        Ok(found.find(|v| v.as_new() == same))
    }

    fn viewer(&self) -> String {
        self.tenant
            .map_or_else(|| "*".to_owned(), |tenant| tenant.to_string())
    }

    fn owner(&self) -> String {
        self.tenant
            .map_or_else(String::new, |tenant| tenant.to_string())
    }
}

/// The same schema in the same text, whatever its white space.
fn normal(schema: &str) -> String {
    serde_json::from_str::<serde_json::Value>(schema)
        .map_or_else(|_| schema.to_owned(), |value| value.to_string())
}

async fn versions(tx: &mut Tx, viewer: &str, subject: &str) -> Result<Vec<RegisteredSchema>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} AND v.subject = $2 {IN_ORDER}"
    )))
    .bind(viewer)
    .bind(subject)
    .fetch_all(&mut *tx.inner)
    .await
    .doing(READING)?;
    registered(&rows)
}

/// Rows of one version follow one another.
fn registered(rows: &[AnyRow]) -> Result<Vec<RegisteredSchema>> {
    let mut found: Vec<RegisteredSchema> = Vec::new();
    for row in rows {
        let subject: &str = row.try_get("subject").doing(READING)?;
        let version = to_u32(row.try_get("version").doing(READING)?)?;
        let reference = references::referred(row)?;
        match found.last_mut() {
            Some(same) if same.version == version && same.subject == subject => {
                same.references.extend(reference);
            }
            _ => found.push(RegisteredSchema {
                subject: subject.to_owned(),
                version,
                id: to_u32(row.try_get("schema_id").doing(READING)?)?,
                schema: row.try_get("schema").doing(READING)?,
                references: reference.into_iter().collect(),
                deleted: row.try_get::<i64, _>("deleted").doing(READING)? != 0,
            }),
        }
    }
    Ok(found)
}

fn to_u32(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|e| StoreError::Corrupt {
        table: "schema_versions",
        row: number.to_string(),
        reason: format!("a number is out of range: {e}"),
    })
}
