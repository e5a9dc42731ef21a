//! Which addresses a connection that a tenant caused may reach: public ones, and those that the
//! operator has listed. Asked about every resolved address, right before it is dialled, so that
//! a name that resolves differently the second time gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::http::Cidr;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("resolving {host} failed: {reason}; check the name")]
    Resolve { host: String, reason: String },
    #[error(
        "{host} resolves to {address}, which is {what}: only public addresses are reached; ask the operator to list its network"
    )]
    Refused {
        host: String,
        address: IpAddr,
        what: &'static str,
    },
    #[error("{host} resolves to no address; check the name")]
    Nowhere { host: String },
}

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: std::sync::Arc<[Cidr]>,
}

impl Guard {
    /// `allowed` are networks that may be reached although they are not public, from the
    /// configuration's `key`.
    pub fn new(key: &str, allowed: &[String]) -> anyhow::Result<Self> {
        let parse = |text: &String| {
            text.parse::<Cidr>()
                .map_err(|e| anyhow::anyhow!("{key}: {text:?}: {e}"))
        };
        Ok(Guard {
            allowed: allowed.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// The same from networks that have been read.
    pub fn allowing(networks: &[Cidr]) -> Self {
        Guard {
            allowed: networks.into(),
        }
    }

    /// What makes an address one that is not to be reached.
    pub fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let what = class(address)?;
        (!self.allowed.iter().any(|network| network.contains(address))).then_some(what)
    }

    /// The addresses of a host that may be dialled; an error where there is none.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, GuardError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let resolved =
            tokio::net::lookup_host((bare, port))
                .await
                .map_err(|e| GuardError::Resolve {
                    host: host.to_owned(),
                    reason: e.to_string(),
                })?;
        self.admit(host, resolved)
    }

    /// Of the addresses that a host was resolved to, those that may be dialled; an error where
    /// there is none.
    pub fn admit(
        &self,
        host: &str,
        resolved: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, GuardError> {
        let mut refused = None;
        let mut addresses = Vec::new();
        for address in resolved {
            match self.refuses(address.ip()) {
                None => addresses.push(address),
                Some(what) => refused = Some((address.ip(), what)),
            }
        }
        match refused {
            _ if !addresses.is_empty() => Ok(addresses),
            Some((address, what)) => Err(GuardError::Refused {
                host: host.to_owned(),
                address,
                what,
            }),
            None => Err(GuardError::Nowhere {
                host: host.to_owned(),
            }),
        }
    }
}

/// What an address that is not public is (IANA special-purpose registries).
fn class(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => class4(v4),
        IpAddr::V6(v6) => class6(v6),
    }
}

fn class4(a: Ipv4Addr) -> Option<&'static str> {
    match a.octets() {
        [0, ..] => Some("this network"),
        [127, ..] => Some("loopback"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by a carrier"),
        [169, 254, ..] => Some("link-local"),
        [168, 63, 129, 16] => Some("a cloud's metadata service"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("reserved for protocols"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("for documentation"),
        [198, 18..=19, ..] => Some("for benchmarks"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn class6(a: Ipv6Addr) -> Option<&'static str> {
    let s = a.segments();
    let embedded =
        |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // An IPv4 address in another form is that address: mapped, compatible, translated.
        [0, 0, 0, 0, 0, 0xffff, high, low] => class4(embedded(high, low)),
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some("an obsolete form of IPv4"),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => class4(embedded(high, low)),
        [0x2002, high, low, ..] => class4(embedded(high, low)).or(Some("a 6to4 relay")),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("for documentation"),
        [0x2001, 0..=0x1ff, ..] => Some("reserved for protocols"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not a global unicast address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        let guard = Guard::default();
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for address in refused {
            assert!(
                guard.refuses(address.parse().unwrap()).is_some(),
                "{address}"
            );
        }
        let reached = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ];
        for address in reached {
            assert_eq!(guard.refuses(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn a_listed_network_is_reached_and_no_other() {
        let guard = Guard::new("key", &["10.1.0.0/16".to_owned()]).unwrap();
        assert_eq!(guard.refuses("10.1.2.3".parse().unwrap()), None);
        assert_eq!(guard.refuses("::ffff:10.1.2.3".parse().unwrap()), None);
        assert!(guard.refuses("10.2.0.1".parse().unwrap()).is_some());
        assert!(Guard::new("key", &["ten".to_owned()]).is_err());
    }

    #[tokio::test]
    async fn a_name_or_literal_that_resolves_inside_is_refused() {
        let guard = Guard::default();
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            let refused = guard.resolve(host, 80).await.unwrap_err();
            assert!(
                matches!(
                    refused,
                    GuardError::Refused {
                        what: "loopback",
                        ..
                    }
                ),
                "{host}: {refused}"
            );
        }
    }
}
