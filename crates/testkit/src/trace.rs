//! GPS traces: a recorded one, and generated ones that are the same on every run.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

/// Where a device was, by its own clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    pub device: String,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub recorded_at_us: i64,
    /// Degrees, WGS 84.
    pub lat: f64,
    pub lon: f64,
}

/// Where the recorded trace is, if it is there: the file that `LANEWAY_TRACE` names, else one in
/// the folder for shared data beside the checkout.
pub fn geolife_path() -> Option<PathBuf> {
    let beside = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/geolife_sample.txt.gz"
    );
    let named = std::env::var_os("LANEWAY_TRACE").filter(|path| !path.is_empty());
    let path = named.map_or_else(|| PathBuf::from(beside), PathBuf::from);
    path.is_file().then_some(path)
}

/// A sample of GeoLife GPS Trajectories (Microsoft Research Asia), in the order of the file.
/// `None` where it is not there, which is printed, and fails where it is not as described here.
///
/// Lines are `lat,lng,datetime,uid` under a heading, times in UTC to the second. In the sample
/// (counted):
/// - 217,653 fixes of two devices, `001` (108,607) and then `005` (109,046), one block each, from
///   2008-10-23T05:53:05Z to 2009-03-19T05:46:37Z, between 22.1 and 41.2° N, 113.5 and 121.2° E;
/// - within a device times only grow: none goes back, none occurs twice, and no line is repeated;
/// - steps are mostly 5 s (129,348), else 1 to 4 s (86,101), and 666 are longer than 5 min;
/// - 14,691 fixes are exactly where the one before was, and 71 are more than 80 m/s away from it
///   (up to 917 m/s: jumps of the receiver and flights).
pub fn geolife() -> Result<Option<Vec<Fix>>> {
    let Some(path) = geolife_path() else {
        eprintln!("NOT THERE: the recorded trace; name its file (gzip or plain) in LANEWAY_TRACE");
        return Ok(None);
    };
    read(&path)
        .with_context(|| format!("reading the trace {}", path.display()))
        .map(Some)
}

/// Reads a trace of that format, compressed where the name ends in `.gz`.
pub fn read(path: &Path) -> Result<Vec<Fix>> {
    let file = std::fs::File::open(path).context("opening the file")?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        parse(BufReader::new(GzDecoder::new(file)))
    } else {
        parse(BufReader::new(file))
    }
}

fn parse(text: impl BufRead) -> Result<Vec<Fix>> {
    let mut lines = text.lines();
    let heading = lines.next().transpose()?.unwrap_or_default();
    ensure!(
        heading.trim() == "lat,lng,datetime,uid",
        "the heading is {heading:?}, not lat,lng,datetime,uid"
    );
    lines
        .zip(2..)
        .map(|(line, number)| parse_line(&line?).with_context(|| format!("line {number}")))
        .collect()
}

fn parse_line(line: &str) -> Result<Fix> {
    let fields: Vec<&str> = line.trim().split(',').collect();
    let [lat, lon, time, device] = fields.as_slice() else {
        anyhow::bail!("{} fields instead of 4: {line:?}", fields.len());
    };
    let time = time
        .parse::<jiff::civil::DateTime>()
        .with_context(|| format!("parsing the time {time:?}"))?;
    let instant = jiff::tz::TimeZone::UTC
        .to_timestamp(time)
        .context("the time is out of range")?;
    Ok(Fix {
        device: (*device).to_owned(),
        recorded_at_us: instant.as_microsecond(),
        lat: lat
            .parse()
            .with_context(|| format!("parsing the latitude {lat:?}"))?,
        lon: lon
            .parse()
            .with_context(|| format!("parsing the longitude {lon:?}"))?,
    })
}

/// 2024-01-01T00:00:00Z.
const GENERATED_START_US: i64 = 1_704_067_200_000_000;
const METRES_PER_DEGREE: f64 = 111_320.0;

/// A walk of `devices` vehicles, `fixes_per_device` each, in the order in which a server would
/// get them: round by round, a device's own times growing by 1 to 5 s.
///
/// Vehicles speed up to 30 m/s, turn gradually, and stop now and then for a minute or so. The same
/// arguments give the same trace on every machine and in every release.
pub fn generated(devices: usize, fixes_per_device: usize, seed: u64) -> Vec<Fix> {
    let mut vehicles: Vec<Vehicle> = (0_u64..)
        .take(devices)
        .map(|index| Vehicle::new(index, seed))
        .collect();
    let mut trace = Vec::with_capacity(devices.saturating_mul(fixes_per_device));
    for _ in 0..fixes_per_device {
        trace.extend(vehicles.iter_mut().map(Vehicle::next));
    }
    trace
}

struct Vehicle {
    device: String,
    chance: Chance,
    at_us: i64,
    lat: f64,
    lon: f64,
    /// Radians, clockwise from north.
    heading: f64,
    metres_per_second: f64,
    stopped_fixes: u32,
}

impl Vehicle {
    fn new(index: u64, seed: u64) -> Self {
        let mut chance = Chance(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        Self {
            device: format!("device-{index:06}"),
            at_us: GENERATED_START_US + chance.between(0.0, 5e6) as i64,
            lat: chance.between(30.0, 60.0),
            lon: chance.between(-10.0, 40.0),
            heading: chance.between(0.0, std::f64::consts::TAU),
            metres_per_second: chance.between(0.0, 20.0),
            stopped_fixes: 0,
            chance,
        }
    }

    fn next(&mut self) -> Fix {
        let fix = Fix {
            device: self.device.clone(),
            recorded_at_us: self.at_us,
            lat: rounded(self.lat),
            lon: rounded(self.lon),
        };
        let seconds = self.chance.between(1.0, 5.0);
        self.at_us += (seconds * 1e6) as i64;
        if self.stopped_fixes > 0 {
            self.stopped_fixes -= 1;
        } else if self.chance.between(0.0, 1.0) < 0.01 {
            self.stopped_fixes = self.chance.between(5.0, 40.0) as u32;
            self.metres_per_second = 0.0;
        } else {
            self.heading += self.chance.between(-0.3, 0.3);
            self.metres_per_second =
                (self.metres_per_second + self.chance.between(-2.0, 2.2)).clamp(0.0, 30.0);
            let degrees = self.metres_per_second * seconds / METRES_PER_DEGREE;
            self.lat = (self.lat + degrees * self.heading.cos()).clamp(-80.0, 80.0);
            self.lon += degrees * self.heading.sin() / self.lat.to_radians().cos();
            self.lon = (self.lon + 180.0).rem_euclid(360.0) - 180.0;
        }
        fix
    }
}

/// To 7 decimals, about a centimetre, as receivers print them.
fn rounded(degrees: f64) -> f64 {
    (degrees * 1e7).round() / 1e7
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same for ever.
struct Chance(u64);

impl Chance {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // The upper 53 bits, exactly a fraction in [0, 1).
        low + (high - low) * ((bits >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
