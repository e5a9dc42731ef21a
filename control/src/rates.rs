//! Limits on requests: of one key, and of one address. Bounded; an address or a key that is
//! forgotten begins anew.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use laneway_runtime::Problem;
use laneway_tenancy::{Authenticated, Gcra, Principal, Rate, TenantId};
use quick_cache::sync::Cache;

use crate::ControlSettings;

/// Keys and addresses that are told apart. About 150 bytes each.
const KEPT: usize = 65_536;

pub(crate) struct Rates {
    keys: Buckets<Caller>,
    addresses: Buckets<IpAddr>,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Caller {
    Key(u128),
    /// All others of a tenant: its devices; everybody where authentication is off.
    Tenant(TenantId),
}

struct Buckets<K> {
    buckets: Cache<K, Arc<Gcra>>,
    /// `None` is no limit.
    rate: Option<Rate>,
}

impl Rates {
    pub(crate) fn new(settings: &ControlSettings) -> Self {
        Rates {
            keys: Buckets::new(settings.key_requests_per_second),
            addresses: Buckets::new(settings.address_requests_per_second),
        }
    }

    /// Of whoever asks from there; the operator's local socket has no address and no limit.
    pub(crate) fn of_address(&self, address: Option<IpAddr>, now_us: i64) -> Result<(), Problem> {
        match address {
            Some(address) => self
                .addresses
                .take(network(address), now_us, "This address"),
            None => Ok(()),
        }
    }

    pub(crate) fn of_key(&self, caller: &Authenticated, now_us: i64) -> Result<(), Problem> {
        let (key, who) = match caller.scope.principal() {
            Principal::Key { id, .. } => (Caller::Key(id.as_u128()), "This key"),
            _ => (Caller::Tenant(caller.tenant.id), "This namespace"),
        };
        self.keys.take(key, now_us, who)
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Buckets {
            buckets: Cache::new(KEPT),
            rate: (per_second > 0.0).then(|| Rate::new(per_second, 2.0 * per_second)),
        }
    }

    fn take(&self, key: K, now_us: i64, who: &str) -> Result<(), Problem> {
        let Some(rate) = self.rate else { return Ok(()) };
        let made = || -> Result<_, std::convert::Infallible> { Ok(Arc::new(Gcra::new())) };
        let Ok(bucket) = self.buckets.get_or_insert_with(&key, made);
        bucket.take(now_us, 1, rate).map_err(|wait_us| {
            let seconds = u32::try_from(wait_us / 1_000_000 + 1).unwrap_or(u32::MAX);
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate-limited",
                "Too many requests",
                format!("{who} asks more often than it may. Try again in {seconds} s."),
            )
            .retry_after(seconds)
        })
    }
}

/// IPv6 by /64: whoever has one address of it has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(per_second: u32) -> Rates {
        Rates::new(&ControlSettings {
            address_requests_per_second: per_second,
            ..ControlSettings::default()
        })
    }

    fn refused(rates: &Rates, address: &str, times: u32) -> u32 {
        let address = address.parse().unwrap();
        let asked = (0..times).map(|_| rates.of_address(Some(address), 1_000_000));
        u32::try_from(asked.filter(Result::is_err).count()).unwrap()
    }

    #[test]
    fn an_address_is_limited_by_itself_and_told_when_to_come_again() {
        let rates = rates(10);
        assert_eq!(refused(&rates, "192.0.2.1", 25), 5);
        assert_eq!(refused(&rates, "::ffff:192.0.2.1", 1), 1);
        assert_eq!(refused(&rates, "192.0.2.2", 20), 0);
        let address = "192.0.2.1".parse().unwrap();
        let problem = rates.of_address(Some(address), 1_000_000).unwrap_err();
        assert_eq!(
            (problem.status.as_u16(), problem.retry_after),
            (429, Some(1))
        );
        assert!(rates.of_address(Some(address), 1_100_000).is_ok());
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_address() {
        let rates = rates(10);
        assert_eq!(refused(&rates, "2001:db8::1", 20), 0);
        assert_eq!(refused(&rates, "2001:db8::2", 1), 1);
        assert_eq!(refused(&rates, "2001:db8:0:1::2", 1), 0);
    }

    #[test]
    fn no_limit_is_none_and_the_local_socket_has_none() {
        assert_eq!(refused(&rates(0), "192.0.2.1", 10_000), 0);
        let rates = rates(1);
        assert!((0..100).all(|_| rates.of_address(None, 0).is_ok()));
    }
}
