//! GPX: every `<trk>` is a device.

use anyhow::Context;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::track::{Fix, Track, time};

/// The first track is of `device`, others of `device-2`, `device-3`, …
pub fn read(bytes: &[u8], device: &str) -> anyhow::Result<Vec<Track>> {
    let mut reader = Reader::from_reader(bytes);
    let mut tracks: Vec<Track> = Vec::new();
    let mut point: Option<(Fix, bool)> = None;
    let mut text = String::new();
    loop {
        let at = reader.buffer_position();
        match reader
            .read_event()
            .with_context(|| format!("at byte {at}"))?
        {
            Event::Start(tag) => {
                text.clear();
                match tag.local_name().as_ref() {
                    b"trk" => tracks.push(Track {
                        device: name(device, tracks.len()),
                        fixes: Vec::new(),
                    }),
                    b"trkpt" => {
                        point = Some((
                            position(&tag).with_context(|| format!("at byte {at}"))?,
                            false,
                        ))
                    }
                    _ => {}
                }
            }
            Event::Text(content) => text.push_str(&content.decode()?),
            Event::End(tag) => {
                let tag = tag.local_name();
                if tag.as_ref() == b"trkpt" {
                    // A point without a time cannot be sent.
                    if let (Some((fix, true)), Some(track)) = (point.take(), tracks.last_mut()) {
                        track.fixes.push(fix);
                    }
                } else if let Some((fix, timed)) = &mut point {
                    let number = text.trim().parse::<f64>().ok();
                    match tag.as_ref() {
                        b"time" => {
                            fix.at = time(&text)
                                .with_context(|| format!("at byte {at}: '{text}' is no time"))?;
                            *timed = true;
                        }
                        b"ele" => fix.altitude = number,
                        b"speed" => fix.speed = number,
                        b"course" => fix.heading = number,
                        _ => {}
                    }
                }
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    tracks.retain(|track| !track.fixes.is_empty());
    for track in &mut tracks {
        track.fixes.sort_by_key(|fix| fix.at);
    }
    anyhow::ensure!(
        !tracks.is_empty(),
        "there is no <trkpt> with a <time> in it"
    );
    Ok(tracks)
}

fn name(device: &str, before: usize) -> String {
    if before == 0 {
        device.to_owned()
    } else {
        format!("{device}-{}", before + 1)
    }
}

fn position(tag: &BytesStart<'_>) -> anyhow::Result<Fix> {
    let attribute = |name: &str| -> anyhow::Result<f64> {
        let attribute = tag
            .try_get_attribute(name)?
            .with_context(|| format!("a <trkpt> has no {name}"))?;
        let text = std::str::from_utf8(&attribute.value)?;
        text.trim()
            .parse()
            .with_context(|| format!("'{text}' is no {name}"))
    };
    Ok(Fix {
        latitude: attribute("lat")?,
        longitude: attribute("lon")?,
        ..Fix::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_with_their_extras_are_read_and_those_without_a_time_left_out() {
        let text = r#"<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><name>a &amp; b</name><trkseg>
            <trkpt lat="48.1" lon="11.5"><ele>520.5</ele><time>2024-05-01T10:00:01Z</time>
              <extensions><x:speed xmlns:x="u">3.5</x:speed></extensions></trkpt>
            <trkpt lat="48.2" lon="11.6"/><trkpt lat="48.2" lon="11.6"></trkpt>
            </trkseg></trk><trk><trkseg><trkpt lon="1" lat="2"><time>2024-05-01T10:00:00Z</time></trkpt></trkseg></trk></gpx>"#;
        let tracks = read(text.as_bytes(), "ride").unwrap();
        assert_eq!(
            tracks.iter().map(|t| t.device.as_str()).collect::<Vec<_>>(),
            ["ride", "ride-2"]
        );
        assert_eq!(tracks[0].fixes.len(), 1);
        assert_eq!(
            (tracks[0].fixes[0].altitude, tracks[0].fixes[0].speed),
            (Some(520.5), Some(3.5))
        );
        assert!(read(b"<gpx></gpx>", "x").is_err());
        assert!(
            read(
                b"<gpx><trk><trkpt lat='x' lon='1'></trkpt></trk></gpx>",
                "x"
            )
            .is_err()
        );
    }
}
