//! One device's minute.

use super::geo::distance_m;
use super::point::Points;

/// Length of a window, µs.
pub const MINUTE_US: i64 = 60_000_000;
/// How far before a fix the one before it may lie for the way between them to count, µs.
pub const REACH_US: i64 = 300_000_000;

/// Start of the window that an event time is in.
pub fn minute_of(at: i64) -> i64 {
    at.div_euclid(MINUTE_US).saturating_mul(MINUTE_US)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowValue {
    /// Points from the reach before the window to its end. Whatever changes the window adds
    /// one of them, so it grows with every change and needs no state.
    pub revision: u32,
    pub fixes: u64,
    pub distance_m: f64,
    pub max_speed_mps: Option<f64>,
}

/// The window from `start`, or `None` where it has no fix.
pub fn window(points: &Points, start: i64) -> Option<WindowValue> {
    let first = points.first_at(start);
    let end = points.first_at(start.saturating_add(MINUTE_US));
    if first == end {
        return None;
    }
    let reach = points.first_at(start.saturating_sub(REACH_US));
    let rows = points.rows();
    let mut distance = 0.0;
    let mut max_speed: Option<f64> = None;
    for i in first..end {
        let row = &rows[i];
        let before = i
            .checked_sub(1)
            .map(|b| &rows[b])
            .filter(|b| row.at.saturating_sub(b.at) <= REACH_US);
        let segment = before.map(|b| (distance_m(b.place(), row.place()), row.at - b.at));
        if let Some((metres, _)) = segment {
            distance += metres;
        }
        let speed = if row.speed.is_nan() {
            segment
                .filter(|(_, us)| *us > 0)
                .map(|(metres, us)| metres / (us as f64 / 1e6))
        } else {
            Some(row.speed)
        };
        if let Some(speed) = speed {
            max_speed = Some(max_speed.map_or(speed, |m| m.max(speed)));
        }
    }
    Some(WindowValue {
        revision: u32::try_from(end - reach).unwrap_or(u32::MAX),
        fixes: (end - first) as u64,
        distance_m: distance,
        max_speed_mps: max_speed,
    })
}
