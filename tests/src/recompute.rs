//! What must come out for a trace, computed again from the whole of it, without a line of the
//! code under test: counts, distances, windows and sessions.

use std::collections::BTreeMap;

use laneway_testkit::Fix;

/// Mean Earth radius (IUGG), in metres.
const RADIUS_M: f64 = 6_371_008.8;
/// A longer pause is not a way travelled.
const LONGEST_SEGMENT_US: i64 = 300 * 1_000_000;
const MINUTE_US: i64 = 60 * 1_000_000;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct WindowTotals {
    pub fixes: u64,
    pub distance_m: f64,
    pub max_speed_mps: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionTotals {
    pub fixes: u64,
    pub distance_m: f64,
    pub duration_s: f64,
}

/// What a device's trace amounts to. Its session is all of its fixes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceTotals {
    /// Event times, in microseconds.
    pub positions: Vec<i64>,
    pub session: SessionTotals,
    /// By window start, in microseconds.
    pub windows: BTreeMap<i64, WindowTotals>,
    pub latest_us: i64,
}

/// By device.
pub fn recompute(trace: &[Fix]) -> BTreeMap<String, DeviceTotals> {
    let mut devices: BTreeMap<String, Vec<&Fix>> = BTreeMap::new();
    for fix in trace {
        devices.entry(fix.device.clone()).or_default().push(fix);
    }
    devices
        .into_iter()
        .map(|(device, mut fixes)| {
            fixes.sort_by_key(|fix| fix.recorded_at_us);
            (device, totals(&fixes))
        })
        .collect()
}

fn totals(fixes: &[&Fix]) -> DeviceTotals {
    let mut device = DeviceTotals::default();
    let mut before: Option<&Fix> = None;
    for fix in fixes {
        device.positions.push(fix.recorded_at_us);
        device.latest_us = fix.recorded_at_us;
        device.session.fixes += 1;
        let start = fix.recorded_at_us.div_euclid(MINUTE_US) * MINUTE_US;
        let window = device.windows.entry(start).or_default();
        window.fixes += 1;
        if let Some(before) = before {
            let metres = haversine_m(before, fix);
            device.session.distance_m += metres;
            let pause_us = fix.recorded_at_us - before.recorded_at_us;
            if pause_us <= LONGEST_SEGMENT_US {
                window.distance_m += metres;
                if pause_us > 0 {
                    let speed = metres / (pause_us as f64 / 1e6);
                    window.max_speed_mps =
                        Some(window.max_speed_mps.map_or(speed, |m| m.max(speed)));
                }
            }
        }
        before = Some(fix);
    }
    if let (Some(first), Some(last)) = (fixes.first(), fixes.last()) {
        device.session.duration_s = (last.recorded_at_us - first.recorded_at_us) as f64 / 1e6;
    }
    device
}

/// Great-circle distance on a sphere, by the haversine formula (Sinnott 1984).
pub fn haversine_m(a: &Fix, b: &Fix) -> f64 {
    let (lat_a, lat_b) = (a.lat.to_radians(), b.lat.to_radians());
    let half_lat = (lat_b - lat_a) / 2.0;
    let half_lon = (b.lon - a.lon).to_radians() / 2.0;
    let h = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
    2.0 * RADIUS_M * h.sqrt().min(1.0).asin()
}

/// Whether two sums of the same numbers, added in different orders, are the same.
pub fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * (1.0 + a.abs().max(b.abs()))
}
