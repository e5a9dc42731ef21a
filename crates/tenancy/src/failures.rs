//! Limits on failed authentication, by address and by device. Bounded.

use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::gcra::{Gcra, Rate};

pub(crate) struct FailureLimiter {
    buckets: Cache<FailureKey, Arc<Gcra>>,
    address: Rate,
    device: Rate,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum FailureKey {
    /// IPv6 by /64: whoever has one address of it has them all.
    Address(IpAddr),
    /// Keyed hash of tenant and device as presented, known or not.
    Device(u128),
}

impl FailureKey {
    pub(crate) fn address(address: IpAddr) -> Self {
        FailureKey::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
            },
        })
    }
}

impl FailureLimiter {
    pub(crate) fn new(entries: usize, address_per_minute: u32, device_per_minute: u32) -> Self {
        let rate = |per_minute: u32| {
            let per_minute = f64::from(per_minute.max(1));
            Rate::new(per_minute / 60.0, per_minute)
        };
        FailureLimiter {
            buckets: Cache::new(entries.max(16)),
            address: rate(address_per_minute),
            device: rate(device_per_minute),
        }
    }

    /// Seconds to wait where the key has failed too often.
    pub(crate) fn check(&self, key: &FailureKey, now_us: i64) -> Result<(), u32> {
        let Some(bucket) = self.buckets.get(key) else {
            return Ok(());
        };
        bucket
            .would_pass(now_us, self.rate(key))
            .map_err(|wait_us| u32::try_from(wait_us / 1_000_000 + 1).unwrap_or(u32::MAX))
    }

    pub(crate) fn failed(&self, key: &FailureKey, now_us: i64) {
        let made = || -> Result<_, std::convert::Infallible> { Ok(Arc::new(Gcra::new())) };
        let Ok(bucket) = self.buckets.get_or_insert_with(key, made);
        // A bucket that is empty already stays so.
        let _ = bucket.take(now_us, 1, self.rate(key));
    }

    fn rate(&self, key: &FailureKey) -> Rate {
        match key {
            FailureKey::Address(_) => self.address,
            FailureKey::Device(_) => self.device,
        }
    }
}
