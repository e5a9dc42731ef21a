//! Slugs that tenants had before they were renamed.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

use crate::TenantId;
use crate::control::FormerSlug;

/// Where a former slug leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    pub tenant: TenantId,
    /// What it is called now.
    pub slug: Arc<str>,
}

#[derive(Debug)]
struct Former {
    renamed: Renamed,
    until: i64,
}

/// Few, and looked at only for names that nobody has.
#[derive(Debug, Default)]
pub(super) struct FormerSlugs(RwLock<HashMap<Box<str>, Former>>);

impl FormerSlugs {
    pub(super) fn get(&self, slug: &str, now: i64) -> Option<Renamed> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(slug).filter(|former| now < former.until);
        found.map(|former| former.renamed.clone())
    }

    /// All that the tenant, which is called `slug` now, had.
    pub(super) fn set(&self, tenant: TenantId, slug: &str, former: &[FormerSlug]) {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if former.is_empty() && known.values().all(|f| f.renamed.tenant != tenant) {
                return;
            }
        }
        let slug: Arc<str> = slug.into();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, f| f.renamed.tenant != tenant);
        for FormerSlug { slug: name, until } in former {
            let renamed = Renamed {
                tenant,
                slug: Arc::clone(&slug),
            };
            let until = *until;
            known.insert(name.as_str().into(), Former { renamed, until });
        }
    }
}
