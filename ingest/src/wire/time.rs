//! Times as text: RFC 3339, strictly.

/// The last microsecond that has a year of four digits in every time zone:
/// 9999-12-30T22:00:00.999999Z.
pub const MAX_US: i64 = 253_402_207_200_999_999;

/// Microseconds since 1970 of an RFC 3339 time of the years 1970 to 9999; finer digits are
/// cut off. `None` where it is anything else (RFC 9557 suffixes and forms of ISO 8601 that
/// RFC 3339 does not have, too).
pub fn parse_rfc3339_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // jiff reads more than RFC 3339: its fixed punctuation and its offset are asked for here.
    let punctuated = bytes.len() >= 20
        && [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')]
            .iter()
            .all(|(at, c)| bytes[*at] == *c)
        && matches!(bytes[10], b'T' | b't' | b' ')
        && matches!(bytes[19], b'.' | b'Z' | b'z' | b'+' | b'-');
    let offset = match bytes.last()? {
        b'Z' | b'z' => true,
        b'0'..=b'9' => {
            let at = bytes.len().checked_sub(6)?;
            at >= 19 && matches!(bytes[at], b'+' | b'-') && bytes[at + 3] == b':'
        }
        _ => false,
    };
    if !(punctuated && offset) {
        return None;
    }
    let us = text.parse::<jiff::Timestamp>().ok()?.as_microsecond();
    (0..=MAX_US).contains(&us).then_some(us)
}

/// The time as RFC 3339 with the digits it needs.
pub(crate) fn rfc3339(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(parse_rfc3339_us("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            parse_rfc3339_us("2026-11-21T02:07:19.123456Z"),
            Some(1_795_226_839_123_456)
        );
        assert_eq!(
            parse_rfc3339_us("2026-11-21T03:07:19.123456+01:00"),
            Some(1_795_226_839_123_456)
        );
        assert_eq!(
            parse_rfc3339_us("2026-11-21t02:07:19.1234569z"),
            Some(1_795_226_839_123_456)
        );
        assert_eq!(
            parse_rfc3339_us("9999-12-30T22:00:00.999999Z"),
            Some(MAX_US)
        );
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for bad in [
            "",
            "yesterday",
            "1969-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "2026-11-21",
            "2026-11-21T02:07Z",
            "2026-11-21T02:07:19",
            "2026-11-21T02:07:19+0100",
            "2026-11-21T02:07:19Z[UTC]",
            "2026-13-21T02:07:19Z",
            "2026-02-30T02:07:19Z",
            "20261121T020719Z",
            "+002026-11-21T02:07:19Z",
            "2026-11-21T02:07:19é",
        ] {
            assert_eq!(parse_rfc3339_us(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_time_in_range_or_none(text in "\\PC{0,40}") {
            if let Some(us) = parse_rfc3339_us(&text) {
                proptest::prop_assert!((0..=MAX_US).contains(&us));
            }
        }

        #[test]
        fn every_time_survives_its_text_form(us in 0..=MAX_US) {
            proptest::prop_assert_eq!(parse_rfc3339_us(&rfc3339(us)), Some(us));
        }
    }
}
