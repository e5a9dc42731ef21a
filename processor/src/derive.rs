//! What the events of a device amount to: a deterministic function of the recorded input, with
//! no input, output or clock of its own.
//!
//! A [`Device`] remembers the fixes (*points*) that may still change something, and derives
//! from them, at the end of a unit of work, the windows and sessions that the unit touched.

mod codec;
mod device;
mod geo;
mod id;
mod point;
mod retain;
mod seen;
mod session;
mod sessions;
mod window;
mod wire;

pub use codec::{DamagedState, StateBody, decode_device, pack, packed_name, unpack, write_state};
pub use device::{Device, Extra, Fix, FixOutcome, Touch};
pub use geo::{EARTH_RADIUS_M, distance_m};
pub use id::{EntityId, IdHasher, fix_hash};
pub use point::{Point, Points};
pub use seen::Seen;
pub use session::{Session, Totals};
pub use sessions::{SessionOutcome, SessionStep};
pub use window::{MINUTE_US, REACH_US, WindowValue, minute_of};

/// What bounds the memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Fixes further behind the device's watermark are late. Microseconds of event time.
    pub horizon_us: i64,
    /// Remembered points of a device, beyond those of its last six minutes.
    pub max_points: usize,
    /// Ids of fixes within the horizon that are no points, by which repeats are told.
    pub remembered_ids: usize,
}

/// What the end of a unit (or of a window's wait) gives to the tenant's stream.
#[derive(Debug, PartialEq)]
pub enum Derived<'a> {
    Window {
        start: i64,
        value: WindowValue,
    },
    Updated {
        session: &'a Session,
    },
    Stopped {
        session: &'a Session,
        stopped_at: i64,
    },
}
