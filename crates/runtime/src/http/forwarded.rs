//! Which client a request comes from, when proxies stand in between.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no network: write an address, or an address and a prefix length such as 10.0.0.0/8"
)]
pub struct CidrError(String);

impl Cidr {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => masked4(address, self.prefix) == network,
            (IpAddr::V6(network), IpAddr::V6(address)) => masked6(address, self.prefix) == network,
            _ => false,
        }
    }
}

fn masked4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits {
            return Err(wrong());
        }
        let network = match address {
            IpAddr::V4(address) => masked4(address, prefix).into(),
            IpAddr::V6(address) => masked6(address, prefix).into(),
        };
        Ok(Cidr { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl<'de> serde::Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The client behind `socket`: its own address, unless a trusted proxy speaks for it. Of what
/// `X-Forwarded-For` says, only what trusted proxies wrote counts, and that is the right-most
/// hop that is not one of them: anything to the left of it the client may have made up.
pub fn client_address(socket: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|cidr| cidr.contains(address));
    let mut client = socket.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let values: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = hop_address(hop.trim()) else {
            break;
        };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = if let Ok(address) = hop.parse::<IpAddr>() {
        address
    } else if let Some(inner) = hop.strip_prefix('[') {
        inner.split(']').next()?.parse().ok()?
    } else {
        hop.rsplit_once(':')?.0.parse().ok()?
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(socket: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<Cidr> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        client_address(socket.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        assert_eq!(
            client("198.51.100.7", &["203.0.113.9"], &[]),
            "198.51.100.7"
        );
        assert_eq!(
            client("198.51.100.7", &["203.0.113.9"], &["10.0.0.0/8"]),
            "198.51.100.7"
        );
        assert_eq!(
            client("10.1.2.3", &["1.1.1.1, 203.0.113.9"], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
        assert_eq!(
            client(
                "10.1.2.3",
                &["1.1.1.1", "203.0.113.9, 10.9.9.9"],
                &["10.0.0.0/8"]
            ),
            "203.0.113.9"
        );
        assert_eq!(
            client("10.1.2.3", &["203.0.113.9, nonsense"], &["10.0.0.0/8"]),
            "10.1.2.3"
        );
    }

    #[test]
    fn proxies_alone_leave_the_furthest_of_them() {
        assert_eq!(
            client("10.1.2.3", &["10.0.0.1, 10.0.0.2"], &["10.0.0.0/8"]),
            "10.0.0.1"
        );
        assert_eq!(client("10.1.2.3", &[], &["10.0.0.0/8"]), "10.1.2.3");
    }

    #[test]
    fn hops_with_ports_brackets_and_mapped_addresses_are_understood() {
        let trusted = &["::1", "10.0.0.0/8"];
        assert_eq!(
            client("::1", &["[2001:db8::5]:443"], trusted),
            "2001:db8::5"
        );
        assert_eq!(
            client("::ffff:10.0.0.1", &["203.0.113.9:1234"], trusted),
            "203.0.113.9"
        );
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        assert!(!all.contains("2001:db8::1".parse().unwrap()));
        let net: Cidr = "192.168.4.77/22".parse().unwrap();
        assert_eq!(net.to_string(), "192.168.4.0/22");
        assert!(net.contains("192.168.7.255".parse().unwrap()));
        assert!(!net.contains("192.168.8.0".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
