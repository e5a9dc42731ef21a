//! Names to tenants, read without waiting while they change.

use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::{HashMap, HashMapExt};

use crate::TenantId;

/// With 30,000 names a change copies about 120 of them.
const SHARDS: usize = 256;

type Shard = HashMap<Box<str>, TenantId>;

/// A map in immutable pieces. A change replaces one piece; readers go on with what they hold.
#[derive(Debug)]
pub(super) struct Shards {
    pieces: Box<[ArcSwap<Shard>]>,
    hasher: foldhash::fast::RandomState,
}

impl Shards {
    pub(super) fn new() -> Self {
        let empty = Arc::new(Shard::new());
        Shards {
            pieces: (0..SHARDS)
                .map(|_| ArcSwap::new(Arc::clone(&empty)))
                .collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<TenantId> {
        self.piece(name).load().get(name).copied()
    }

    pub(super) fn set(&self, name: &str, tenant: TenantId) {
        self.piece(name).rcu(|shard| {
            let mut shard = Shard::clone(shard);
            shard.insert(name.into(), tenant);
            shard
        });
    }

    /// Where the name is another tenant's, it stays.
    pub(super) fn remove(&self, name: &str, tenant: TenantId) {
        if self.get(name) != Some(tenant) {
            return;
        }
        self.piece(name).rcu(|shard| {
            let mut shard = Shard::clone(shard);
            if shard.get(name) == Some(&tenant) {
                shard.remove(name);
            }
            shard
        });
    }

    /// Every name of a tenant.
    pub(super) fn remove_all(&self, tenant: TenantId) {
        for piece in &self.pieces {
            if piece.load().values().any(|owner| *owner == tenant) {
                piece.rcu(|shard| {
                    let mut shard = Shard::clone(shard);
                    shard.retain(|_, owner| *owner != tenant);
                    shard
                });
            }
        }
    }

    fn piece(&self, name: &str) -> &ArcSwap<Shard> {
        // The pieces' own maps use the low bits.
        let hash = self.hasher.hash_one(name);
        &self.pieces[(hash >> 56) as usize % SHARDS]
    }
}
