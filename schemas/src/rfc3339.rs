//! Times as CloudEvents write them, without allocating.

use std::ops::RangeInclusive;

/// `2026-11-21T02:06:41.123456Z`
pub struct Rfc3339([u8; 27]);

const DAY_US: i64 = 86_400_000_000;

impl Rfc3339 {
    /// The years 0000 to 9999, which the format can say, in microseconds since 1970.
    pub const RANGE: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

    /// Of microseconds since 1970; what the format cannot say becomes the nearest it can.
    pub fn of(at_us: i64) -> Self {
        let at = at_us.clamp(*Self::RANGE.start(), *Self::RANGE.end());
        let (year, month, day) = civil(at.div_euclid(DAY_US));
        let of_day = at.rem_euclid(DAY_US);
        let seconds = of_day / 1_000_000;
        let mut out = *b"0000-00-00T00:00:00.000000Z";
        put(&mut out[0..4], year);
        put(&mut out[5..7], month);
        put(&mut out[8..10], day);
        put(&mut out[11..13], seconds / 3600);
        put(&mut out[14..16], seconds / 60 % 60);
        put(&mut out[17..19], seconds % 60);
        put(&mut out[20..26], of_day % 1_000_000);
        Rfc3339(out)
    }

    pub fn as_bytes(&self) -> &[u8; 27] {
        &self.0
    }
}

fn put(out: &mut [u8], mut value: i64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar (Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(at: i64) -> String {
        String::from_utf8(Rfc3339::of(at).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn known_times() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(text(1_763_690_801_123_456), "2025-11-21T02:06:41.123456Z");
        assert_eq!(text(i64::MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(text(i64::MIN), "0000-01-01T00:00:00.000000Z");
    }
}
