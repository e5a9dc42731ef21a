//! Times on the wire: RFC 3339 in UTC, without an allocation per time.

use serde::{Deserialize, Serialize, Serializer};

const DAY_US: i64 = 86_400_000_000;
/// 0000-01-01 and 9999-12-31T23:59:59.999999Z, the range that RFC 3339 can write.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// Microseconds since 1970, written as RFC 3339 with as many digits as they need (0, 3 or 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    pub fn write(self, buffer: &mut [u8; 27]) -> &str {
        let us = self.0.clamp(*RANGE.start(), *RANGE.end());
        let (year, month, day) = civil(us.div_euclid(DAY_US));
        let of_day = us.rem_euclid(DAY_US);
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        buffer.copy_from_slice(b"0000-00-00T00:00:00.000000Z");
        put(&mut buffer[0..4], year);
        put(&mut buffer[5..7], month);
        put(&mut buffer[8..10], day);
        put(&mut buffer[11..13], seconds / 3600);
        put(&mut buffer[14..16], seconds / 60 % 60);
        put(&mut buffer[17..19], seconds % 60);
        put(&mut buffer[20..26], micros);
        let end = match micros {
            0 => 19,
            m if m % 1000 == 0 => 23,
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

fn put(slot: &mut [u8], mut value: i64) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a count of days since 1970-01-01 (H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn times_are_what_another_library_reads(us in RANGE) {
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
