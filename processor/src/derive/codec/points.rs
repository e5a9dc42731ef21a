//! Points in the state: each as its difference to the one before it.

use crate::derive::device::Device;
use crate::derive::point::{Point, Points};
use crate::derive::window::REACH_US;
use crate::derive::wire::{Bytes, DamagedState, from_whole, put_f64, put_i64, put_u64, whole};

/// Degrees have at most 7 decimals (a centimetre) on most devices, speeds 3.
const DEGREE: f64 = 1e7;
const SPEED: f64 = 1e3;

const LATITUDE_WHOLE: u8 = 1;
const LONGITUDE_WHOLE: u8 = 2;
const SPEED_WHOLE: u8 = 4;
const SPEED_RAW: u8 = 8;
const HAS_SLOT: u8 = 16;

/// What the next point is the difference to.
#[derive(Default)]
struct Before {
    at: i64,
    latitude: i64,
    longitude: i64,
}

/// Appends the `count` points of the tail.
pub fn put_points(points: &Points, count: u32, out: &mut Vec<u8>) {
    put_u64(out, u64::from(count));
    let mut before = Before::default();
    let mut left = count;
    // The newest points are mostly the last ones.
    for (point, id) in points.rows().iter().zip(points.ids()).rev() {
        if left == 0 {
            break;
        }
        if point.in_tail {
            put_point(point, *id, &mut before, out);
            left -= 1;
        }
    }
}

fn put_point(point: &Point, id: u64, before: &mut Before, out: &mut Vec<u8>) {
    let latitude = whole(point.latitude, DEGREE);
    let longitude = whole(point.longitude, DEGREE);
    let speed = whole(point.speed, SPEED);
    let mut flags = 0;
    for (flag, set) in [
        (LATITUDE_WHOLE, latitude.is_some()),
        (LONGITUDE_WHOLE, longitude.is_some()),
        (SPEED_WHOLE, speed.is_some()),
        (SPEED_RAW, speed.is_none() && !point.speed.is_nan()),
        (HAS_SLOT, point.slot != 0),
    ] {
        flags |= if set { flag } else { 0 };
    }
    out.push(flags);
    out.extend_from_slice(&id.to_le_bytes());
    put_i64(out, point.at.wrapping_sub(before.at));
    before.at = point.at;
    put_degrees(point.latitude, latitude, &mut before.latitude, out);
    put_degrees(point.longitude, longitude, &mut before.longitude, out);
    match speed {
        Some(speed) => put_i64(out, speed),
        None if point.speed.is_nan() => {}
        None => put_f64(out, point.speed),
    }
    if point.slot != 0 {
        out.push(point.slot);
    }
}

fn put_degrees(value: f64, whole: Option<i64>, before: &mut i64, out: &mut Vec<u8>) {
    match whole {
        Some(whole) => {
            put_i64(out, whole - *before);
            *before = whole;
        }
        None => put_f64(out, value),
    }
}

fn take_degrees(bytes: &mut Bytes<'_>, whole: bool, before: &mut i64) -> Result<f64, DamagedState> {
    if !whole {
        return bytes.f64();
    }
    *before = before.wrapping_add(bytes.i64()?);
    Ok(from_whole(*before, DEGREE))
}

/// Points that were read, in any order.
#[derive(Default)]
pub struct Restored(Vec<(u64, Point)>);

/// Reads what [`put_points`] wrote; returns the newest recorded_at.
pub fn take_points(
    bytes: &mut Bytes<'_>,
    in_tail: bool,
    into: &mut Restored,
) -> Result<i64, DamagedState> {
    let mut before = Before::default();
    let mut last_at = i64::MIN;
    for _ in 0..bytes.u32()? {
        let flags = bytes.u8()?;
        let id = bytes.fixed_u64()?;
        let at = before.at.wrapping_add(bytes.i64()?);
        before.at = at;
        let latitude = take_degrees(bytes, flags & LATITUDE_WHOLE != 0, &mut before.latitude)?;
        let longitude = take_degrees(bytes, flags & LONGITUDE_WHOLE != 0, &mut before.longitude)?;
        let speed = if flags & SPEED_WHOLE != 0 {
            from_whole(bytes.i64()?, SPEED)
        } else if flags & SPEED_RAW != 0 {
            bytes.f64()?
        } else {
            f64::NAN
        };
        let slot = if flags & HAS_SLOT != 0 {
            bytes.u8()?
        } else {
            0
        };
        last_at = last_at.max(at);
        into.0.push((
            id,
            Point {
                at,
                latitude,
                longitude,
                speed,
                slot,
                in_tail,
            },
        ));
    }
    Ok(last_at)
}

impl Restored {
    /// Gives the device those points that it had not forgotten, and its sessions their sums.
    pub fn into_device(mut self, device: &mut Device) {
        let limit = device.floor().saturating_sub(REACH_US);
        self.0.sort_unstable_by_key(|(id, point)| (point.at, *id));
        device.tail = 0;
        for (id, point) in self.0 {
            // A tail holds no forgotten point: after everything was sealed the last one stays,
            // wherever it is.
            if point.at < limit && !point.in_tail {
                continue;
            }
            device.tail += u32::from(point.in_tail);
            let (_, extra) = device.points_and_extra();
            let mut sessions = extra.into_iter().flat_map(|e| &mut e.sessions);
            if let Some(session) = sessions.find(|s| s.slot == point.slot) {
                session.points += 1;
            }
            device.points.insert(id, point);
        }
        let (points, extra) = device.points_and_extra();
        for session in extra.into_iter().flat_map(|e| &mut e.sessions) {
            session.stale = true;
            session.settle(points.rows());
        }
        device.shrink();
    }
}
