//! Days as they are counted and as they are written.

use jiff::civil::{Date, date as civil};

/// Days since 1970-01-01.
pub(super) fn day(text: &str) -> Option<i64> {
    let date: Date = text.parse().ok()?;
    let since = civil(1970, 1, 1).until(date).ok()?;
    Some(i64::from(since.get_days()))
}

/// As 2026-11-21.
pub(super) fn date(day: i64) -> String {
    let timestamp = jiff::Timestamp::from_second(day.saturating_mul(86_400));
    timestamp.map_or_else(
        |_| day.to_string(),
        |t| jiff::tz::Offset::UTC.to_datetime(t).date().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_it_is_read() {
        for (written, number) in [
            ("1970-01-01", 0),
            ("2026-11-21", 20_778),
            ("1969-12-31", -1),
        ] {
            assert_eq!(day(written), Some(number));
            assert_eq!(date(number), written);
        }
        assert_eq!(day("2026-02-30"), None);
        assert_eq!(day("now"), None);
    }
}
