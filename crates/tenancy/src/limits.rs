//! Rate limits of tenants and devices.
//!
//! A tenant's limit holds over all ingest nodes together: each node reports twice a second how
//! much of the tenant's traffic it saw (the exchange is the store's), and takes the part of the
//! limit that [`allowance`] gives it. A device's limit holds on each node; devices keep their
//! connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::TenantId;
use crate::control::Limits;
use crate::gcra::{Gcra, Rate};

/// How often nodes exchange their demands, of a rate or of connections.
pub const EXCHANGE_MS: u64 = 500;
/// After this long a node that reported nothing counts as gone.
pub const SHARE_EXPIRES_MS: u64 = 2_000;

/// Part of an exceeded limit that is dealt out evenly, so that a node whose demand is just
/// beginning is not shut out until the next exchange.
const EVEN: f64 = 0.05;

/// Which limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    Tenant { retry_after_us: i64 },
    Device { retry_after_us: i64 },
}

impl Limited {
    /// For `Retry-After`: at least 1.
    pub fn retry_after_s(self) -> u32 {
        let (Limited::Tenant { retry_after_us } | Limited::Device { retry_after_us }) = self;
        u32::try_from(retry_after_us.max(0) / 1_000_000 + 1).unwrap_or(u32::MAX)
    }
}

/// Events a second that one node may let through, given everyone's demands: what it asks for
/// plus an even part of what is left while all fit, its proportional part otherwise. Over all
/// nodes it adds up to `limit`.
pub fn allowance(limit: f64, own: f64, total: f64, nodes: u32) -> f64 {
    let nodes = f64::from(nodes.max(1));
    let (own, total) = (own.max(0.0), total.max(own).max(0.0));
    if total <= limit {
        own + (limit - total) / nodes
    } else {
        limit * ((1.0 - EVEN) * own / total + EVEN / nodes)
    }
}

/// A second's events at once.
fn even_burst(per_second: f64) -> Rate {
    Rate::new(per_second, per_second)
}

struct TenantBucket {
    bucket: Gcra,
    /// Events asked for since the last exchange, let through or not.
    asked: AtomicU64,
    /// Events a second this node may let through (f64 bits); 0 until the first exchange.
    allowance: AtomicU64,
}

/// The buckets of one node. Bounded: the least used ones are forgotten, and begin anew full.
pub struct TenantLimiter {
    tenants: Cache<TenantId, Arc<TenantBucket>>,
    devices: Cache<u128, Arc<Gcra>>,
}

impl TenantLimiter {
    pub fn new(max_tenants: usize, max_devices: usize) -> Self {
        TenantLimiter {
            tenants: Cache::new(max_tenants.max(16)),
            devices: Cache::new(max_devices.max(16)),
        }
    }

    /// Takes so many events of each device, all or none; or says which limit refuses them and
    /// for how long.
    pub fn admit(
        &self,
        tenant: TenantId,
        devices: &[(&str, u32)],
        limits: &Limits,
        now_us: i64,
    ) -> Result<(), Limited> {
        let rate = even_burst(limits.device_events_per_second.into());
        let limited = if limits.device_events_per_second > 0 {
            devices
        } else {
            &[]
        };
        for (taken, (device, n)) in limited.iter().enumerate() {
            if let Err(retry_after_us) = self.device(tenant, device).take(now_us, *n, rate) {
                self.give_back(tenant, &limited[..taken], rate);
                return Err(Limited::Device { retry_after_us });
            }
        }
        self.admit_tenant(tenant, devices, limits, now_us)
            .inspect_err(|_| self.give_back(tenant, limited, rate))
    }

    fn admit_tenant(
        &self,
        tenant: TenantId,
        devices: &[(&str, u32)],
        limits: &Limits,
        now_us: i64,
    ) -> Result<(), Limited> {
        if limits.events_per_second == 0 {
            return Ok(());
        }
        let n = devices
            .iter()
            .fold(0, |sum: u32, (_, n)| sum.saturating_add(*n));
        let bucket = self.tenant(tenant);
        bucket.asked.fetch_add(n.into(), Ordering::Relaxed);
        let shared = f64::from_bits(bucket.allowance.load(Ordering::Relaxed));
        let per_second = if shared > 0.0 {
            shared
        } else {
            limits.events_per_second.into()
        };
        bucket
            .bucket
            .take(now_us, n, even_burst(per_second))
            .map_err(|retry_after_us| Limited::Tenant { retry_after_us })
    }

    fn give_back(&self, tenant: TenantId, devices: &[(&str, u32)], rate: Rate) {
        for (device, n) in devices {
            self.device(tenant, device).give_back(*n, rate);
        }
    }

    /// Events asked for since the last call, by tenant: what this node reports.
    pub fn drain_demand(&self) -> Vec<(TenantId, u64)> {
        self.tenants
            .iter()
            .filter_map(|(tenant, bucket)| {
                let asked = bucket.asked.swap(0, Ordering::Relaxed);
                (asked > 0).then_some((tenant, asked))
            })
            .collect()
    }

    /// Takes this node's part of a tenant's limit, in events a second (see [`allowance`]).
    pub fn set_allowance(&self, tenant: TenantId, events_per_second: f64) {
        self.tenant(tenant)
            .allowance
            .store(events_per_second.to_bits(), Ordering::Relaxed);
    }

    fn tenant(&self, tenant: TenantId) -> Arc<TenantBucket> {
        if let Some(found) = self.tenants.get(&tenant) {
            return found;
        }
        let made = || -> Result<_, std::convert::Infallible> {
            Ok(Arc::new(TenantBucket {
                bucket: Gcra::new(),
                asked: AtomicU64::new(0),
                allowance: AtomicU64::new(0),
            }))
        };
        let Ok(bucket) = self.tenants.get_or_insert_with(&tenant, made);
        bucket
    }

    fn device(&self, tenant: TenantId, device: &str) -> Arc<Gcra> {
        let key = xxh3_128_with_seed(
            device.as_bytes(),
            (tenant.as_u128() ^ (tenant.as_u128() >> 64)) as u64,
        ) ^ tenant.as_u128();
        if let Some(found) = self.devices.get(&key) {
            return found;
        }
        let made = || -> Result<_, std::convert::Infallible> { Ok(Arc::new(Gcra::new())) };
        let Ok(bucket) = self.devices.get_or_insert_with(&key, made);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn allowances_of_all_nodes_add_up_to_the_limit(
            demands in proptest::collection::vec(0.0f64..10_000.0, 1..20), limit in 1.0f64..50_000.0,
        ) {
            let total: f64 = demands.iter().sum();
            let nodes = demands.len() as u32;
            let sum: f64 = demands.iter().map(|own| allowance(limit, *own, total, nodes)).sum();
            proptest::prop_assert!((sum - limit).abs() <= limit * 1e-9 + 1e-6, "{sum} is not {limit}");
            for own in demands {
                let given = allowance(limit, own, total, nodes);
                proptest::prop_assert!(total > limit || given >= own - 1e-9);
                proptest::prop_assert!(given > 0.0);
            }
        }
    }

    /// Four nodes with uneven traffic of one tenant at five times its limit, exchanging every
    /// half second with demands that are half a second old.
    #[test]
    fn over_several_nodes_a_tenants_limit_holds_within_ten_percent() {
        let tenant = TenantId::from_u128(7);
        let limits = Limits {
            events_per_second: 1000,
            ..Limits::default()
        };
        let nodes: Vec<TenantLimiter> = (0..4).map(|_| TenantLimiter::new(16, 16)).collect();
        let rates = [3000u64, 1500, 400, 100];
        let (start, seconds) = (1_000_000_000_000i64, 20i64);
        let mut passed_after_warm_up = 0u64;
        for half in 0..seconds * 2 {
            for ms in 0..500i64 {
                let now = start + (half * 500 + ms) * 1000;
                for (node, rate) in nodes.iter().zip(rates) {
                    // Spread the events evenly over the milliseconds.
                    let due = (ms + 1) as u64 * rate / 1000 - ms as u64 * rate / 1000;
                    for _ in 0..due {
                        if node.admit(tenant, &[("d", 1)], &limits, now).is_ok() && half >= 4 {
                            passed_after_warm_up += 1;
                        }
                    }
                }
            }
            let demands: Vec<f64> = nodes
                .iter()
                .map(|n| n.drain_demand().iter().map(|(_, d)| *d as f64 * 2.0).sum())
                .collect();
            let total: f64 = demands.iter().sum();
            for (node, own) in nodes.iter().zip(&demands) {
                node.set_allowance(tenant, allowance(1000.0, *own, total, 4));
            }
        }
        let per_second = passed_after_warm_up as f64 / (seconds - 2) as f64;
        assert!(
            (900.0..=1100.0).contains(&per_second),
            "{per_second} events a second"
        );
    }

    #[test]
    fn a_loud_device_is_refused_before_it_uses_up_its_tenants_rate() {
        let tenant = TenantId::from_u128(7);
        let limits = Limits {
            events_per_second: 100,
            device_events_per_second: 10,
            ..Limits::default()
        };
        let limiter = TenantLimiter::new(16, 64);
        let loud = (0..1000)
            .filter(|_| limiter.admit(tenant, &[("loud", 1)], &limits, 5).is_ok())
            .count();
        assert_eq!(loud, 10);
        assert_eq!(limiter.admit(tenant, &[("quiet", 1)], &limits, 5), Ok(()));
    }

    #[test]
    fn a_refused_batch_takes_nothing_from_any_device() {
        let tenant = TenantId::from_u128(7);
        let limits = |events_per_second| Limits {
            events_per_second,
            device_events_per_second: 10,
            ..Limits::default()
        };
        let limiter = TenantLimiter::new(16, 64);
        // Refused by the rate of the last device, then by that of the tenant.
        let used_up = limiter.admit(tenant, &[("c", 10)], &limits(0), 5);
        assert_eq!(used_up, Ok(()));
        let batch = [("a", 10), ("b", 10), ("c", 1)];
        let refused = limiter.admit(tenant, &batch, &limits(0), 5);
        assert!(matches!(refused, Err(Limited::Device { .. })));
        assert_eq!(limiter.admit(tenant, &[("d", 5)], &limits(5), 5), Ok(()));
        let refused = limiter.admit(tenant, &batch[..2], &limits(5), 5);
        assert!(matches!(refused, Err(Limited::Tenant { .. })));
        assert_eq!(limiter.admit(tenant, &batch[..2], &limits(0), 5), Ok(()));
    }
}
