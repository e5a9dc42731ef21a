//! The `Authorization` header: `Bearer <token>`, or `Basic` with `device@tenant:password`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::DeviceId;

/// Longest header that is looked at, in bytes.
pub(crate) const MAX_HEADER: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    Token(&'a [u8]),
    Login(Login),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub device: String,
    pub tenant_slug: String,
    pub password: Vec<u8>,
}

/// What the header presents; `None` for what cannot be a credential of ours.
pub(crate) fn parse(header: &[u8]) -> Option<Presented<'_>> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let space = header.iter().position(|b| *b == b' ')?;
    let (scheme, rest) = (&header[..space], header[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Presented::Token(rest));
    }
    if scheme.eq_ignore_ascii_case(b"basic") {
        return login(&STANDARD.decode(rest).ok()?).map(Presented::Login);
    }
    None
}

/// `device@tenant:password`. Neither device ids nor slugs have an `@`; device ids may have a
/// colon, so the first one after the `@` ends the name.
fn login(decoded: &[u8]) -> Option<Login> {
    let at = decoded.iter().position(|b| *b == b'@')?;
    let colon = at + decoded[at..].iter().position(|b| *b == b':')?;
    let device = std::str::from_utf8(&decoded[..at]).ok()?;
    let slug = std::str::from_utf8(&decoded[at + 1..colon]).ok()?;
    (DeviceId::is_valid(device) && crate::slug::is_slug(slug)).then(|| Login {
        device: device.to_owned(),
        tenant_slug: slug.to_owned(),
        password: decoded[colon + 1..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    #[test]
    fn a_password_may_have_colons_and_ats_and_a_device_colons() {
        let header = basic("a:b@acme:p@ss:word");
        let Some(Presented::Login(login)) = parse(&header) else {
            panic!("not a login")
        };
        assert_eq!(
            (login.device.as_str(), login.tenant_slug.as_str()),
            ("a:b", "acme")
        );
        assert_eq!(login.password, b"p@ss:word");
    }

    #[test]
    fn what_names_no_tenant_is_no_credential() {
        for bad in [
            "device:password",
            "@acme:x",
            "d@:x",
            "d@acme",
            "d/e@acme:x",
            "d@Ac me:x",
        ] {
            assert_eq!(parse(&basic(bad)), None, "{bad}");
        }
        assert_eq!(parse(b"Bearer"), None);
        assert_eq!(parse(b"Digest abc"), None);
        assert_eq!(parse(&vec![b'x'; MAX_HEADER + 1]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(header: Vec<u8>) {
            let _ = parse(&header);
        }
    }
}
