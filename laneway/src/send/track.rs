//! Recorded fixes.

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fix {
    /// Microseconds since 1970.
    pub at: i64,
    pub latitude: f64,
    pub longitude: f64,
    pub altitude: Option<f64>,
    pub accuracy: Option<f64>,
    pub speed: Option<f64>,
    pub heading: Option<f64>,
    pub battery: Option<f64>,
}

/// The fixes of one device, by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub device: String,
    pub fixes: Vec<Fix>,
}

/// The text as a device id: what may not be in one becomes `-`.
pub fn device_id(text: &str) -> String {
    let id: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(56)
        .collect();
    if id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        id
    } else {
        format!("d{id}")
    }
}

/// RFC 3339, the same without a zone (UTC then), or seconds, milliseconds or microseconds since 1970.
pub fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let scale = match number.abs() {
            n if n < 1e11 => 1e6,
            n if n < 1e14 => 1e3,
            _ => 1.0,
        };
        return Some((number * scale) as i64);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_microsecond());
    }
    let civil: jiff::civil::DateTime = text.replace('/', "-").parse().ok()?;
    Some(
        civil
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_microsecond(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_forms_that_recorders_write() {
        let expected = Some(1_224_741_185_000_000);
        for text in [
            "2008-10-23 05:53:05",
            "2008/10/23 05:53:05",
            "2008-10-23T05:53:05Z",
            "2008-10-23T07:53:05+02:00",
            "1224741185",
            "1224741185000",
            "1224741185000000",
            " 1224741185.0 ",
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(time("soon"), None);
    }

    #[test]
    fn any_name_becomes_a_valid_device_id() {
        for name in ["001", "my track (1)", "-x", "", "é", &"x".repeat(100)] {
            assert!(
                laneway_tenancy::DeviceId::is_valid(&device_id(name)),
                "{name}"
            );
        }
    }
}
