//! Which credentials were used of late, for the store to note: coarse, and bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::{CredentialId, KeyId, TenantId};

/// How old what is stored of a credential's last use becomes before it is noted anew.
pub const NOTED_EVERY_US: i64 = 300_000_000;
/// Uses that wait to be written: what comes beyond is noted when it is next verified.
const MOST: usize = 16_384;

/// What a caller was verified by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretId {
    Credential(CredentialId),
    Key(KeyId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialUse {
    pub tenant: TenantId,
    pub secret: SecretId,
    pub at: i64,
}

/// Costs nothing while a credential is answered from the cache: it is noted when it is verified
/// against the store, which says how old its note is.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<SecretId, (TenantId, i64)>>);

impl Uses {
    pub(crate) fn note(&self, used: CredentialUse, noted_at: Option<i64>) {
        if noted_at.is_some_and(|at| used.at - at < NOTED_EVERY_US) {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST || waiting.contains_key(&used.secret) {
            waiting.insert(used.secret, (used.tenant, used.at));
        }
    }

    pub(crate) fn drain(&self) -> Vec<CredentialUse> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
            .into_iter()
            .map(|(secret, (tenant, at))| CredentialUse { tenant, secret, at })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_noted_once_in_a_while_and_never_without_bound() {
        let uses = Uses::default();
        let used = |id, at| CredentialUse {
            tenant: TenantId::from_u128(1),
            secret: SecretId::Credential(CredentialId::from_u128(id)),
            at,
        };
        uses.note(used(1, NOTED_EVERY_US), Some(1));
        assert_eq!(uses.drain(), []);
        uses.note(used(1, NOTED_EVERY_US), Some(0));
        uses.note(used(1, NOTED_EVERY_US + 1), None);
        assert_eq!(uses.drain(), [used(1, NOTED_EVERY_US + 1)]);
        assert_eq!(uses.drain(), []);
        for id in 0..2 * MOST as u128 {
            uses.note(used(id, 0), None);
        }
        assert_eq!(uses.drain().len(), MOST);
    }
}
