//! Numbers that JSON cannot hold, made readable, so that they spoil only their own item.

/// The body with every bare `NaN`, `Infinity`, `-Infinity` and every number beyond 64-bit
/// floating point written as the string `"NaN"`, which a numeric field refuses as not
/// finite. `None` where there is none: the body is then broken for another reason.
pub fn quote_non_finite(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut found = false;
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        let len = match rest[0] {
            b'"' => string_len(rest),
            b'-' | b'+' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => token_len(rest),
            _ => 1,
        };
        let token = &rest[..len];
        if rest[0] != b'"' && is_beyond(token) {
            out.extend_from_slice(b"\"NaN\"");
            found = true;
        } else {
            out.extend_from_slice(token);
        }
        at += len;
    }
    found.then_some(out)
}

/// Up to and including the closing quote.
fn string_len(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

fn token_len(bytes: &[u8]) -> usize {
    let ends = |b: &u8| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b'_'));
    bytes.iter().position(ends).unwrap_or(bytes.len())
}

fn is_beyond(token: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(token) else {
        return false;
    };
    super::value::is_non_finite(text)
        || (text.ends_with(|c: char| c.is_ascii_digit())
            && text.parse::<f64>().is_ok_and(f64::is_infinite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_non_finite_numbers_are_replaced() {
        let quoted =
            |text: &str| quote_non_finite(text.as_bytes()).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(
            quoted(r#"{"lat":NaN,"lon":-Infinity}"#).unwrap(),
            r#"{"lat":"NaN","lon":"NaN"}"#
        );
        assert_eq!(
            quoted(r#"[1e999, "1e999", "a\"NaN"]"#).unwrap(),
            r#"["NaN", "1e999", "a\"NaN"]"#
        );
        assert_eq!(quoted(r#"{"lat":1e99,"NaN":true,"x"#), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(body: Vec<u8>) {
            let _ = quote_non_finite(&body);
        }
    }
}
