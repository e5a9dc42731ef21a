//! Verified credentials, and briefly refused ones. Both bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::verify::Proof;
use super::{AuthSettings, Authenticated, ChangeKind};
use crate::{Principal, SecretId, TenantId, TenantInfo};

/// How long the other requests of a caller go on with an entry that one of them verifies anew.
const GRACE_US: i64 = 5_000_000;
/// How long an entry that was accepted without the store is taken before the store is tried again.
const RETRY_US: i64 = 1_000_000;
const MARKS: usize = 1024;

pub(super) struct Entry {
    pub(super) authenticated: Authenticated,
    pub(super) proof: Proof,
    verified_at: i64,
    /// One request at a time verifies anew; the others go on until then.
    retry_at: AtomicI64,
}

impl Entry {
    pub(super) fn new(authenticated: Authenticated, proof: Proof, now: i64) -> Self {
        Entry {
            authenticated,
            proof,
            verified_at: now,
            retry_at: AtomicI64::new(0),
        }
    }

    pub(super) fn verified_at(&self) -> i64 {
        self.verified_at
    }

    /// Whether the credential itself has ended, whatever the store would say.
    pub(super) fn ended(&self, now: i64) -> bool {
        now >= self.authenticated.ends_at
    }

    /// Whether the entry may be taken as it is: it is not due, or another caller is verifying it
    /// anew at this moment.
    pub(super) fn holds(&self, now: i64, settings: &AuthSettings) -> bool {
        if self.ended(now) {
            return false;
        }
        let age = now - self.verified_at;
        age < i64::from(settings.refresh_seconds) * 1_000_000
            || (age < i64::from(settings.offline_seconds) * 1_000_000
                && now < self.retry_at.load(Ordering::Relaxed))
    }

    /// As [`Entry::holds`]; but when it does not, one caller alone is told so, and has to verify
    /// the entry anew while the others go on.
    pub(super) fn holds_or_claim(&self, now: i64, settings: &AuthSettings) -> bool {
        if self.holds(now, settings) {
            return true;
        }
        let retry_at = self.retry_at.load(Ordering::Relaxed);
        let claimed = now < retry_at
            || self
                .retry_at
                .compare_exchange(
                    retry_at,
                    now + GRACE_US,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        !claimed && self.holds(now, settings)
    }

    /// The store is away: the entry holds for a moment more.
    pub(super) fn accept_unverified(&self, now: i64) {
        self.retry_at.store(now + RETRY_US, Ordering::Relaxed);
    }

    fn concerns(&self, tenant: TenantId, kind: ChangeKind, id: &str) -> bool {
        let scope = &self.authenticated.scope;
        if scope.tenant() != tenant {
            return false;
        }
        match (kind, scope.principal()) {
            (ChangeKind::Tenant, _) => true,
            (ChangeKind::Device, Principal::Device(device)) => device.as_str() == id,
            (ChangeKind::Credential, _) => {
                matches!(self.proof.secret, Some(SecretId::Credential(one)) if one.to_string() == id)
            }
            (ChangeKind::Key, _) => {
                matches!(self.proof.secret, Some(SecretId::Key(one)) if one.to_string() == id)
            }
            _ => false,
        }
    }
}

pub(super) struct Cached {
    entries: Cache<u128, Arc<Entry>>,
    /// Until when a credential is refused without asking.
    refused: Cache<u128, i64>,
    /// As they were read last.
    tenants: Cache<TenantId, Arc<TenantInfo>>,
    /// Counts the changes.
    changes: AtomicU64,
    /// The last change, by a hash of its tenant: what was looked up before it is not kept.
    last: Vec<AtomicU64>,
}

impl Cached {
    pub(super) fn new(entries: usize) -> Self {
        Cached {
            entries: Cache::new(entries.max(16)),
            refused: Cache::new((entries / 8).max(16)),
            tenants: Cache::new((entries / 8).max(16)),
            changes: AtomicU64::new(0),
            last: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn get(&self, key: u128) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Credentials that were read with the same of their tenant have it in common.
    pub(super) fn share(&self, tenant: TenantInfo) -> Arc<TenantInfo> {
        if let Some(known) = self
            .tenants
            .get(&tenant.id)
            .filter(|known| **known == tenant)
        {
            return known;
        }
        let tenant = Arc::new(tenant);
        self.tenants.insert(tenant.id, tenant.clone());
        tenant
    }

    /// Taken before a lookup; an entry is only kept if its tenant has not changed since.
    pub(super) fn mark(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(super) fn insert(&self, key: u128, tenant: TenantId, entry: Entry, mark: u64) {
        self.entries.insert(key, Arc::new(entry));
        self.refused.remove(&key);
        if self.last[slot(tenant)].load(Ordering::SeqCst) > mark {
            self.entries.remove(&key);
        }
    }

    pub(super) fn remove(&self, key: u128) {
        self.entries.remove(&key);
    }

    pub(super) fn refuse(&self, key: u128, until: i64) {
        self.refused.insert(key, until);
    }

    pub(super) fn was_refused(&self, key: u128, now: i64) -> bool {
        self.refused.get(&key).is_some_and(|until| now < until)
    }

    pub(super) fn forget(&self, tenant: TenantId, kind: ChangeKind, id: &str) {
        let change = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        self.last[slot(tenant)].fetch_max(change, Ordering::SeqCst);
        self.entries
            .retain(|_, entry| !entry.concerns(tenant, kind, id));
        if kind == ChangeKind::Tenant {
            self.tenants.remove(&tenant);
        }
    }
}

fn slot(tenant: TenantId) -> usize {
    // The low bits of a UUID of version 7 are random.
    (tenant.as_u128() % MARKS as u128) as usize
}
