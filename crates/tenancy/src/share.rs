//! What a tenant gives of its limits to the tenants below it.

use crate::control::Limits;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    #[error(
        "limits.{limit}: the tenant above has {total}, so each tenant below it needs one of its own"
    )]
    Missing { limit: &'static str, total: u64 },
    #[error(
        "limits.{limit}: {given} of the {total} of the tenant above would be given away; it has to keep 1"
    )]
    Exhausted {
        limit: &'static str,
        total: u64,
        given: u64,
    },
    #[error("limits.{limit}: {asked} is more than the {total} of the tenant above")]
    Above {
        limit: &'static str,
        total: u64,
        asked: u64,
    },
}

type Get = fn(&Limits) -> u64;
type Set = fn(&mut Limits, u64);

/// Divided among a tenant and those below it.
const DIVIDED: [(&str, Get, Set); 7] = [
    (
        "events_per_second",
        |l| l.events_per_second.into(),
        |l, n| l.events_per_second = narrow(n),
    ),
    (
        "events_per_day",
        |l| l.events_per_day,
        |l, n| l.events_per_day = n,
    ),
    (
        "bytes_per_day",
        |l| l.bytes_per_day,
        |l, n| l.bytes_per_day = n,
    ),
    (
        "devices",
        |l| l.devices.into(),
        |l, n| l.devices = narrow(n),
    ),
    ("users", |l| l.users.into(), |l, n| l.users = narrow(n)),
    (
        "destinations",
        |l| l.destinations.into(),
        |l, n| l.destinations = narrow(n),
    ),
    (
        "sockets",
        |l| l.sockets.into(),
        |l, n| l.sockets = narrow(n),
    ),
];

/// Of these, each may have as much as the tenant above.
const WHOLE: [(&str, Get); 2] = [
    ("device_events_per_second", |l| {
        l.device_events_per_second.into()
    }),
    ("retention_seconds", |l| l.retention_seconds),
];

fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Limits {
    /// What is left of them for the tenant itself when those below it are given `below`. What is
    /// not limited here is not limited there either, unless they say so.
    pub fn less(&self, below: &[Limits]) -> Result<Limits, ShareError> {
        let mut left = *self;
        for (limit, get, set) in DIVIDED {
            let total = get(self);
            if total == 0 {
                continue;
            }
            if below.iter().any(|limits| get(limits) == 0) {
                return Err(ShareError::Missing { limit, total });
            }
            let given = below.iter().map(get).fold(0, u64::saturating_add);
            if given >= total {
                return Err(ShareError::Exhausted {
                    limit,
                    total,
                    given,
                });
            }
            set(&mut left, total - given);
        }
        for (limit, get) in WHOLE {
            let total = get(self);
            let above = |asked: &u64| total != 0 && (*asked == 0 || *asked > total);
            if let Some(asked) = below.iter().map(get).find(above) {
                return Err(if asked == 0 {
                    ShareError::Missing { limit, total }
                } else {
                    ShareError::Above {
                        limit,
                        total,
                        asked,
                    }
                });
            }
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(devices: u32) -> Limits {
        Limits {
            devices,
            ..Limits::default()
        }
    }

    #[test]
    fn a_family_never_has_more_than_its_head() {
        let left = devices(100).less(&[devices(30), devices(60)]).unwrap();
        assert_eq!(left.devices, 10);
        let all = devices(100).less(&[devices(40), devices(60)]);
        assert!(matches!(
            all,
            Err(ShareError::Exhausted {
                limit: "devices",
                total: 100,
                given: 100
            })
        ));
        let none = devices(100).less(&[devices(0)]);
        assert!(matches!(none, Err(ShareError::Missing { .. })));
    }

    #[test]
    fn what_is_not_limited_above_may_be_anything_below() {
        let left = devices(0).less(&[devices(5), devices(0)]).unwrap();
        assert_eq!(left, devices(0));
    }

    #[test]
    fn nobody_below_reads_further_back_than_the_tenant_above() {
        let days = |n: u64| Limits {
            retention_seconds: n * 86_400,
            ..Limits::default()
        };
        assert_eq!(days(7).less(&[days(7), days(1)]), Ok(days(7)));
        assert!(matches!(
            days(7).less(&[days(8)]),
            Err(ShareError::Above { .. })
        ));
    }
}
