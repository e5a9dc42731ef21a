//! Sessions whose start or stop this node saw lately: bounded, and only ever a help. What
//! decides is the processor.

use laneway_tenancy::TenantId;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_128;

pub struct Sessions {
    started: Cache<u128, i64>,
    stopped: Cache<u128, i64>,
}

/// A session of a device of a tenant, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey(u128);

impl SessionKey {
    /// Of valid ids: neither holds a slash, so that no two triples read alike.
    pub fn new(tenant: TenantId, device: &str, session: &str) -> Self {
        let mut text = [0u8; 16 + 64 + 1 + 64];
        let mut len = 0;
        for part in [
            &tenant.as_u128().to_le_bytes(),
            device.as_bytes(),
            b"/",
            session.as_bytes(),
        ] {
            let end = (len + part.len()).min(text.len());
            text[len..end].copy_from_slice(&part[..end - len]);
            len = end;
        }
        SessionKey(xxh3_128(&text[..len]))
    }
}

impl Sessions {
    pub fn new(entries: usize) -> Self {
        Sessions {
            started: Cache::new(entries.max(16)),
            stopped: Cache::new(entries.max(16)),
        }
    }

    /// When it started or stopped, in microseconds since 1970, where that is known.
    pub fn started(&self, key: SessionKey) -> Option<i64> {
        self.started.get(&key.0)
    }

    pub fn stopped(&self, key: SessionKey) -> Option<i64> {
        self.stopped.get(&key.0)
    }

    pub fn remember_start(&self, key: SessionKey, at: i64) {
        self.started.insert(key.0, at);
    }

    pub fn remember_stop(&self, key: SessionKey, at: i64) {
        self.stopped.insert(key.0, at);
    }
}
