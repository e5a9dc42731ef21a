//! A registry that lives with its process: for tools and tests that need no other.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::{Compatibility, Registry, RegistryError};

#[derive(Default)]
pub struct MemoryRegistry(Mutex<State>);

#[derive(Default)]
struct State {
    /// By id, from 1.
    schemas: Vec<String>,
    /// Ids of each subject's versions.
    subjects: BTreeMap<String, Vec<u32>>,
}

impl MemoryRegistry {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Registry for MemoryRegistry {
    fn register<'a>(
        &'a self,
        subject: &'a str,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<u32, RegistryError>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = state.register(subject, schema);
        Box::pin(std::future::ready(result))
    }

    fn schema(&self, id: u32) -> BoxFuture<'_, Result<String, RegistryError>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = (id as usize)
            .checked_sub(1)
            .and_then(|i| state.schemas.get(i))
            .cloned();
        Box::pin(std::future::ready(
            found.ok_or(RegistryError::UnknownId { id }),
        ))
    }
}

impl State {
    fn register(&mut self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let known = (1u32..)
            .zip(&self.schemas)
            .find(|(_, s)| *s == schema)
            .map(|(id, _)| id);
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if let Some(id) = known.filter(|id| versions.contains(id)) {
            return Ok(id);
        }
        let existing = versions
            .iter()
            .filter_map(|id| self.schemas.get(*id as usize - 1))
            .map(|schema| schema.as_str().into());
        Compatibility::Backward.check(subject, existing, &schema.into())?;
        let id = known.unwrap_or_else(|| {
            self.schemas.push(schema.to_owned());
            u32::try_from(self.schemas.len()).unwrap_or(u32::MAX)
        });
        versions.push(id);
        Ok(id)
    }
}
