//! What stands between a tenant's callers and what they ask for, built from the tenant's options
//! when a change of them is read, and kept until the next one.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use foldhash::HashMap;
use laneway_runtime::http::Cidr;
use laneway_tenancy::options::Options;

/// Of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// `None` lets in from everywhere.
    networks: Option<Box<[Cidr]>>,
    /// As browsers send them.
    origins: Box<[Box<str>]>,
    any_origin: bool,
}

impl Chain {
    pub fn of(options: &Options) -> Self {
        // An entry that cannot be read lets nobody in.
        let networks = options.ip_allow.iter().filter_map(|text| text.parse().ok());
        let named = options.cors_origins.iter().filter(|origin| *origin != "*");
        Chain {
            networks: (!options.ip_allow.is_empty()).then(|| networks.collect()),
            origins: named.map(|origin| normal(origin).into()).collect(),
            any_origin: options.cors_origins.iter().any(|origin| origin == "*"),
        }
    }

    /// Whether the tenant's credentials are taken from there; the operator's local socket has no
    /// address.
    pub fn lets_in(&self, address: Option<IpAddr>) -> bool {
        match (&self.networks, address) {
            (Some(networks), Some(address)) => networks.iter().any(|n| n.contains(address)),
            _ => true,
        }
    }

    /// Whether a page of that origin may read the tenant's answers. `null` is nobody's origin.
    pub fn answers(&self, origin: &str) -> bool {
        let origin = normal(origin);
        origin != "null" && (self.any_origin || self.origins.iter().any(|own| **own == *origin))
    }
}

/// In lower case, and without the port that its scheme has anyway.
fn normal(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let port = if origin.starts_with("https:") {
        ":443"
    } else {
        ":80"
    };
    match origin.strip_suffix(port) {
        Some(without) => without.to_owned(),
        None => origin,
    }
}

/// How many tenants name each origin. `*` is none: it says nothing of other tenants' answers.
#[derive(Debug, Default)]
pub(crate) struct Origins(RwLock<HashMap<Box<str>, usize>>);

impl Origins {
    /// A tenant's chain takes the place of the one before.
    pub(crate) fn change(&self, before: Option<&Chain>, after: Option<&Chain>) {
        let origins =
            |chain: Option<&Chain>| chain.map_or_else(Box::default, |c| c.origins.clone());
        let (before, after) = (origins(before), origins(after));
        if before == after {
            return;
        }
        let mut named = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for origin in after {
            *named.entry(origin).or_default() += 1;
        }
        for origin in before {
            let left = named.get_mut(&origin).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                named.remove(&origin);
            }
        }
    }

    pub(crate) fn any(&self, origin: &str) -> bool {
        let named = self.0.read().unwrap_or_else(PoisonError::into_inner);
        named.contains_key(normal(origin).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(ip_allow: &[&str], cors_origins: &[&str]) -> Chain {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Chain::of(&Options {
            ip_allow: own(ip_allow),
            cors_origins: own(cors_origins),
            ..Options::default()
        })
    }

    #[test]
    fn a_tenant_with_networks_lets_nobody_in_from_elsewhere() {
        let inside = |chain: &Chain, address: &str| chain.lets_in(Some(address.parse().unwrap()));
        let open = chain(&[], &[]);
        assert!(inside(&open, "192.0.2.1"));
        let bounded = chain(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"], &[]);
        for (address, lets_in) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(inside(&bounded, address), lets_in, "{address}");
        }
        assert!(bounded.lets_in(None), "the operator's local socket");
        let unreadable = chain(&["of a later version"], &[]);
        assert!(!inside(&unreadable, "10.0.0.1"));
    }

    #[test]
    fn only_origins_that_are_named_are_answered() {
        let named = chain(
            &[],
            &["https://App.example.com:443", "http://localhost:3000"],
        );
        for (origin, answers) in [
            ("https://app.example.com", true),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("https://app.example.com.evil.example", false),
            ("http://localhost:3000", true),
            ("null", false),
        ] {
            assert_eq!(named.answers(origin), answers, "{origin}");
        }
        assert!(!chain(&[], &[]).answers("https://app.example.com"));
        let all = chain(&[], &["*"]);
        assert!(all.answers("https://anywhere.example") && !all.answers("null"));
    }

    #[test]
    fn an_origin_is_known_as_long_as_any_tenant_names_it() {
        let origins = Origins::default();
        let (one, both) = (
            chain(&[], &["https://a"]),
            chain(&[], &["https://a", "https://b", "*"]),
        );
        origins.change(None, Some(&one));
        origins.change(None, Some(&both));
        assert!(origins.any("https://a") && origins.any("https://b"));
        assert!(!origins.any("*") && !origins.any("https://c"));
        origins.change(Some(&both), Some(&one));
        assert!(!origins.any("https://b"));
        origins.change(Some(&one), None);
        assert!(origins.any("https://a"));
        origins.change(Some(&one), None);
        assert!(!origins.any("https://a"));
    }
}
