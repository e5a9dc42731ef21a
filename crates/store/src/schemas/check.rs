//! Whether a schema could follow the versions of a subject.

use laneway_schemas::{Compatibility, Referring, RegistryError};

use super::references::{SchemaReference, resolve};
use super::register::find_owner;
use super::{RegisteredSchema, SchemaStore, levels};
use crate::access::{Access, Tx};
use crate::error::StoreError;

/// A schema that is to be registered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewSchema<'a> {
    pub schema: &'a str,
    pub references: &'a [SchemaReference],
}

impl SchemaStore {
    /// As the subject's level says.
    pub async fn check(
        &self,
        subject: &str,
        versions: &[RegisteredSchema],
        new: NewSchema<'_>,
    ) -> Result<(), RegistryError> {
        let unavailable = |e: StoreError| RegistryError::Unavailable {
            doing: format!("checking a schema for {subject}"),
            reason: e.to_string(),
        };
        let mut tx = self.store.read(Access::Shared).await.map_err(unavailable)?;
        let level = levels::in_force(&mut tx, subject)
            .await
            .map_err(unavailable)?;
        // As when it is registered: a tenant's own, the platform's for whoever has the subject.
        let owner = match self.tenant {
            Some(_) => None,
            None => find_owner(&mut tx, subject).await.map_err(unavailable)?,
        };
        let owner = owner.unwrap_or_else(|| self.owner());
        check(&mut tx, level, subject, &owner, versions, new).await?;
        tx.commit().await.map_err(unavailable)
    }
}

/// With what may be referred to by `owner`.
pub(super) async fn check(
    tx: &mut Tx,
    level: Compatibility,
    subject: &str,
    owner: &str,
    versions: &[RegisteredSchema],
    new: NewSchema<'_>,
) -> Result<(), RegistryError> {
    let mut all = Vec::with_capacity(versions.len());
    for version in versions {
        all.push(referring(tx, subject, owner, version.as_new()).await?);
    }
    let new = referring(tx, subject, owner, new).await?;
    level.check(subject, all.into_iter(), &new)
}

/// With what it refers to.
async fn referring<'a>(
    tx: &mut Tx,
    subject: &str,
    owner: &str,
    schema: NewSchema<'a>,
) -> Result<Referring<'a>, RegistryError> {
    let named = resolve(tx, owner, schema.references).await;
    Ok(Referring {
        schema: schema.schema,
        named: named.map_err(|e| e.of(subject))?,
    })
}
