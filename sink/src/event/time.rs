//! Times on the wire: RFC 3339 in UTC, without an allocation per time.

use laneway_schemas::Rfc3339;
use serde::{Deserialize, Serialize, Serializer};

/// Microseconds since 1970, written as RFC 3339 with as many digits as they need (0, 3 or 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    pub fn write(self, buffer: &mut [u8; 27]) -> &str {
        *buffer = *Rfc3339::of(self.0).as_bytes();
        let end = match self.0.rem_euclid(1_000_000) {
            0 => 19,
            micros if micros % 1000 == 0 => 23,
            _ => 26,
        };
        buffer[end] = b'Z';
        // ASCII throughout.
        std::str::from_utf8(&buffer[..=end]).unwrap_or_default()
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; 27]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn times_are_what_another_library_reads(us in Rfc3339::RANGE) {
            let mut buffer = [0; 27];
            let text = Time(us).write(&mut buffer);
            let read: jiff::Timestamp = text.parse().unwrap();
            proptest::prop_assert_eq!(read.as_microsecond(), us);
        }
    }

    #[test]
    fn a_fraction_has_as_many_digits_as_it_needs() {
        let text = |us| Time(us).write(&mut [0; 27]).to_owned();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_000), "1970-01-01T00:00:00.001Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999Z");
    }
}
