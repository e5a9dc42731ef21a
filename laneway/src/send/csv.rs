//! CSV with a header.

use std::collections::BTreeMap;

use anyhow::Context;

use super::track::{Fix, Track, device_id, time};

struct Columns {
    latitude: usize,
    longitude: usize,
    time: usize,
    device: Option<usize>,
    altitude: Option<usize>,
    accuracy: Option<usize>,
    speed: Option<usize>,
    heading: Option<usize>,
    battery: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> anyhow::Result<Self> {
        let find = |names: &[&str]| {
            header.iter().position(|column| {
                names
                    .iter()
                    .any(|name| column.trim().eq_ignore_ascii_case(name))
            })
        };
        let must = |what: &str, names: &[&str]| {
            find(names).with_context(|| {
                format!(
                    "the header has no {what}: name a column {}",
                    names.join(" or ")
                )
            })
        };
        Ok(Columns {
            latitude: must("latitude", &["lat", "latitude"])?,
            longitude: must("longitude", &["lon", "lng", "longitude"])?,
            time: must("time", &["recorded_at", "datetime", "timestamp", "time"])?,
            device: find(&["device", "device_id", "uid", "id"]),
            altitude: find(&["altitude", "alt", "ele", "elevation"]),
            accuracy: find(&["accuracy"]),
            speed: find(&["speed"]),
            heading: find(&["heading", "course", "bearing"]),
            battery: find(&["battery"]),
        })
    }
}

/// `device` is whose track it is where there is no column that says so.
pub fn read(bytes: &[u8], device: &str) -> anyhow::Result<Vec<Track>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let columns = Columns::of(reader.headers()?)?;
    let mut tracks: BTreeMap<String, Vec<Fix>> = BTreeMap::new();
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let text = |column: usize| row.get(column).unwrap_or_default();
        let number = |column: usize, what: &str| {
            text(column)
                .parse::<f64>()
                .with_context(|| format!("line {line}: '{}' is no {what}", text(column)))
        };
        let optional = |column: Option<usize>, what: &str| match column {
            Some(column) if !text(column).is_empty() => number(column, what).map(Some),
            _ => Ok(None),
        };
        let fix = Fix {
            at: time(text(columns.time))
                .with_context(|| format!("line {line}: '{}' is no time", text(columns.time)))?,
            latitude: number(columns.latitude, "latitude")?,
            longitude: number(columns.longitude, "longitude")?,
            altitude: optional(columns.altitude, "altitude")?,
            accuracy: optional(columns.accuracy, "accuracy")?,
            speed: optional(columns.speed, "speed")?,
            heading: optional(columns.heading, "heading")?,
            battery: optional(columns.battery, "battery")?,
        };
        let owner = columns.device.map(text).filter(|id| !id.is_empty());
        tracks
            .entry(owner.map_or_else(|| device.to_owned(), device_id))
            .or_default()
            .push(fix);
    }
    Ok(tracks
        .into_iter()
        .map(|(device, mut fixes)| {
            fixes.sort_by_key(|fix| fix.at);
            Track { device, fixes }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_any_of_their_names_and_devices_kept_apart() {
        let text = "lat,lng,datetime,uid\n39.9,116.3,2008-10-23 05:53:06,001\n39.8,116.2,2008-10-23 05:53:05,001\n1,2,2008-10-23 05:53:05,002\n";
        let tracks = read(text.as_bytes(), "file").unwrap();
        assert_eq!(tracks.len(), 2);
        assert_eq!(tracks[0].device, "001");
        assert!(
            (tracks[0].fixes[0].latitude - 39.8).abs() < 1e-9,
            "not by time"
        );
        let tracks = read(
            b"Latitude, Longitude, timestamp, speed\n1.5,2.5,1224741185,\n",
            "file",
        )
        .unwrap();
        assert_eq!(
            (tracks[0].device.as_str(), tracks[0].fixes[0].speed),
            ("file", None)
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read(
            b"lat,lon,time\n1,2,2008-10-23T05:53:05Z\nx,2,2008-10-23T05:53:05Z\n",
            "file",
        )
        .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "line 3: 'x' is no latitude: invalid float literal"
        );
        assert!(
            read(b"a,b\n", "file")
                .unwrap_err()
                .to_string()
                .contains("latitude")
        );
    }
}
