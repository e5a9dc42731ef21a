//! What schemas name of other schemas.

use std::collections::{HashSet, VecDeque};

use laneway_schemas::RegistryError;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{READING, SchemaStore, to_u32};
use crate::access::{Access, Tx};
use crate::error::{Doing, Result, StoreError};

/// Schemas that one may need altogether.
const MAX_NEEDED: usize = 256;

/// Where a type is that a schema names without defining it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaReference {
    /// The type's full name.
    pub name: String,
    pub subject: String,
    pub version: u32,
}

impl SchemaStore {
    /// Ids of schemas that refer to a version, of those that may be seen.
    pub async fn referring(&self, subject: &str, version: u32) -> Result<Vec<u32>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let found = referring(&mut tx, &self.viewer(), subject, version, false).await?;
        tx.commit().await?;
        Ok(found)
    }
}

/// Ids of schemas that refer to a version; with `deleted` also where they are left out.
pub(super) async fn referring(
    tx: &mut Tx,
    viewer: &str,
    subject: &str,
    version: u32,
    deleted: bool,
) -> Result<Vec<u32>> {
    let doing = "looking for what refers to a schema";
    let rows = sqlx::query(
        "SELECT DISTINCT r.schema_id FROM schema_references r
         JOIN schema_versions v ON v.schema_id = r.schema_id
         JOIN schema_subjects o ON o.subject = v.subject
         WHERE ($1 = '*' OR o.owner = '' OR o.owner = $1) AND r.subject = $2 AND r.version = $3
             AND v.deleted <= $4
         ORDER BY r.schema_id",
    )
    .bind(viewer)
    .bind(subject)
    .bind(i64::from(version))
    .bind(i64::from(deleted))
    .fetch_all(&mut *tx.inner)
    .await
    .doing(doing)?;
    rows.iter()
        .map(|row| to_u32(row.try_get(0).doing(doing)?))
        .collect()
}

/// Of a row that has a reference.
pub(super) fn referred(row: &AnyRow) -> Result<Option<SchemaReference>> {
    let name: Option<String> = row.try_get("of_name").doing(READING)?;
    let Some(name) = name else {
        return Ok(None);
    };
    Ok(Some(SchemaReference {
        name,
        subject: row.try_get("of_subject").doing(READING)?,
        version: to_u32(row.try_get("of_version").doing(READING)?)?,
    }))
}

pub(super) async fn insert(tx: &mut Tx, id: i64, references: &[SchemaReference]) -> Result<()> {
    for (position, reference) in (0_i64..).zip(references) {
        sqlx::query(
            "INSERT INTO schema_references (schema_id, position, name, subject, version)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(position)
        .bind(&reference.name)
        .bind(&reference.subject)
        .bind(i64::from(reference.version))
        .execute(&mut *tx.inner)
        .await
        .doing("registering a schema")?;
    }
    Ok(())
}

/// Why the schemas that one refers to cannot be had.
pub(super) enum Unresolved {
    Store(StoreError),
    Invalid(String),
}

impl Unresolved {
    pub(super) fn of(self, subject: &str) -> RegistryError {
        match self {
            Unresolved::Store(error) => RegistryError::Unavailable {
                doing: format!("looking for what {subject} refers to"),
                reason: error.to_string(),
            },
            Unresolved::Invalid(reason) => RegistryError::Invalid {
                subject: subject.to_owned(),
                reason,
            },
        }
    }
}

impl From<StoreError> for Unresolved {
    fn from(error: StoreError) -> Self {
        Unresolved::Store(error)
    }
}

/// The schemas that these references lead to, each once. A subject refers to shared ones and to
/// those of its owner.
pub(super) async fn resolve(
    tx: &mut Tx,
    owner: &str,
    references: &[SchemaReference],
) -> Result<Vec<String>, Unresolved> {
    let mut needed = Vec::new();
    let mut seen = HashSet::new();
    let mut open: VecDeque<SchemaReference> = references.iter().cloned().collect();
    while let Some(reference) = open.pop_front() {
        let SchemaReference {
            name,
            subject,
            version,
        } = &reference;
        if !seen.insert((subject.clone(), *version)) {
            continue;
        }
        if seen.len() > MAX_NEEDED {
            let reason = format!("it needs more than {MAX_NEEDED} other schemas");
            return Err(Unresolved::Invalid(reason));
        }
        let found = super::versions(tx, owner, subject).await?;
        let found = found
            .into_iter()
            .find(|v| v.version == *version && !v.deleted);
        let Some(found) = found else {
            return Err(Unresolved::Invalid(format!(
                "it names {name} of subject {subject:?}, version {version}, which there is not"
            )));
        };
        needed.push(found.schema);
        open.extend(found.references);
    }
    Ok(needed)
}
