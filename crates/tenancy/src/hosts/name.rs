//! A host as a request names it, in the one form under which it is looked up.

use std::io::Write;
use std::net::Ipv6Addr;

/// Characters of a name, and of one label of it (RFC 1035).
pub(super) const MAX_NAME: usize = 253;
pub(super) const MAX_LABEL: usize = 63;

/// In lower case, without port and final dot. An IPv6 address is in brackets and in its canonical
/// form. On the stack: looking up a host allocates nothing.
pub(super) struct HostName {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl HostName {
    /// Of a `Host` header or the authority of a request's target; `None` where it is no host.
    pub(super) fn of_authority(authority: &[u8]) -> Option<Self> {
        let mut name = HostName {
            bytes: [0; MAX_NAME],
            len: 0,
        };
        if let Some(inner) = authority.strip_prefix(b"[") {
            let end = inner.iter().position(|b| *b == b']')?;
            is_port(&inner[end + 1..]).then_some(())?;
            let address: Ipv6Addr = std::str::from_utf8(&inner[..end]).ok()?.parse().ok()?;
            let mut room = &mut name.bytes[..];
            write!(room, "[{address}]").ok()?;
            name.len = MAX_NAME - room.len();
            return Some(name);
        }
        let colon = authority.iter().position(|b| *b == b':');
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        is_port(port).then_some(())?;
        let host = host.strip_suffix(b".").unwrap_or(host);
        let bytes = name.bytes.get_mut(..host.len())?;
        bytes.copy_from_slice(host);
        bytes.make_ascii_lowercase();
        name.len = host.len();
        is_name(name.as_str()).then_some(name)
    }

    pub(super) fn as_str(&self) -> &str {
        // Checked to be ASCII; what is not UTF-8 would be no name.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// Nothing, or a colon and at most five digits.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Letters, digits, hyphens inside a label. Underscores too, which names of containers have.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.split('.').all(is_label)
}

pub(super) fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(authority: &str) -> Option<String> {
        HostName::of_authority(authority.as_bytes()).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn case_port_and_final_dot_make_no_difference() {
        for authority in [
            "Tracks.Acme.example",
            "tracks.acme.example.",
            "tracks.acme.example:8443",
            "TRACKS.ACME.EXAMPLE.:1",
            "tracks.acme.example:",
        ] {
            assert_eq!(name(authority).as_deref(), Some("tracks.acme.example"));
        }
        assert_eq!(name("[0:0::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(name("127.0.0.1:80").as_deref(), Some("127.0.0.1"));
        assert_eq!(name("ingest_1:8001").as_deref(), Some("ingest_1"));
    }

    #[test]
    fn what_is_no_host_is_none() {
        let long = "a.".repeat(128);
        let label = format!("{}.example", "a".repeat(64));
        for authority in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a b",
            "a:b",
            "a:123456",
            "a:1:2",
            "user@host",
            "müller.example",
            "a/b",
            "a%2eb",
            "[::1",
            "[::1]x",
            "[tracks]",
            &long,
            &label,
        ] {
            assert_eq!(name(authority), None, "{authority}");
        }
    }
}
