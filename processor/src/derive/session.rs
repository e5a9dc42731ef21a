//! One session of a device and what its fixes amount to.

use laneway_schemas::Attributes;

use super::geo::distance_m;
use super::point::Point;

/// An open session is said anew when its last fix is this much later, µs of event time.
pub const UPDATE_EVERY_US: i64 = 10_000_000;

/// Sums over fixes in event-time order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    pub fixes: u64,
    pub distance_m: f64,
    /// Event times of the first and the last fix; meaningless without fixes, as is `last_place`.
    pub first_at: i64,
    pub last_at: i64,
    pub last_place: (f64, f64),
}

impl Totals {
    pub fn add(&mut self, point: &Point) {
        if self.fixes == 0 {
            self.first_at = point.at;
        } else {
            self.distance_m += distance_m(self.last_place, point.place());
        }
        self.fixes += 1;
        self.last_at = point.at;
        self.last_place = point.place();
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub id: Box<str>,
    /// What its points say that they belong to it; unique within the device, from 1.
    pub slot: u8,
    pub started_at: Option<i64>,
    pub stopped_at: Option<i64>,
    /// As the client sent them with the stop.
    pub stop_attributes: Attributes,
    /// Of what was said last; `updated` and `stopped` share one sequence.
    pub revision: u32,
    /// Event time of the last fix when the session was last said to be open.
    pub emitted_at: Option<i64>,
    /// Something has changed since the session was last said.
    pub pending: bool,
    /// Remembered points with its slot.
    pub points: u32,
    /// Of members that are no longer remembered.
    pub sealed: Totals,
    /// Of all members, unless `stale`.
    pub totals: Totals,
    pub stale: bool,
}

impl Session {
    pub fn new(id: &str, slot: u8, revision: u32) -> Self {
        Session {
            id: id.into(),
            slot,
            started_at: None,
            stopped_at: None,
            stop_attributes: Attributes::new(),
            revision,
            emitted_at: None,
            pending: false,
            points: 0,
            sealed: Totals::default(),
            totals: Totals::default(),
            stale: false,
        }
    }

    /// Whether a fix of that event time that names the session belongs to it.
    pub fn takes(&self, at: i64) -> bool {
        self.stopped_at.is_none_or(|stop| at <= stop)
    }

    /// Counts a fix that has become a point with the session's slot.
    pub fn add(&mut self, point: &Point) {
        self.points += 1;
        if !self.takes(point.at) {
            return;
        }
        self.pending = true;
        if self.totals.fixes > 0 && point.at <= self.totals.last_at {
            self.stale = true;
        }
        if !self.stale {
            self.totals.add(point);
        }
    }

    /// A point with the session's slot is forgotten, the oldest first.
    pub fn seal(&mut self, point: &Point) {
        self.points = self.points.saturating_sub(1);
        if self.takes(point.at) {
            self.sealed.add(point);
        }
    }

    /// Sums anew where an insertion in the middle or a stop made that necessary.
    pub fn settle(&mut self, points: &[Point]) {
        if !self.stale {
            return;
        }
        let mut totals = self.sealed;
        for point in points
            .iter()
            .filter(|p| p.slot == self.slot && self.takes(p.at))
        {
            totals.add(point);
        }
        self.totals = totals;
        self.stale = false;
    }

    /// Whether it is due to be said, `totals` being settled. At a window's wait (`idle`)
    /// everything that is pending is.
    pub fn due(&self, idle: bool) -> bool {
        if !self.pending {
            return false;
        }
        if self.stopped_at.is_some() {
            return true;
        }
        let later = |emitted: i64| self.totals.last_at.saturating_sub(emitted) >= UPDATE_EVERY_US;
        self.started_at.is_some()
            && self.totals.fixes > 0
            && (idle || self.emitted_at.is_none_or(later))
    }

    /// Whether it waits for nothing but time.
    pub fn waits(&self) -> bool {
        self.pending && self.started_at.is_some() && self.totals.fixes > 0
    }

    /// Seconds from the start (or the first fix) to the stop (or the last fix).
    pub fn duration_s(&self) -> f64 {
        let has_fixes = self.totals.fixes > 0;
        let from = self
            .started_at
            .or(has_fixes.then_some(self.totals.first_at));
        let to = self.stopped_at.or(has_fixes.then_some(self.totals.last_at));
        match (from, to) {
            (Some(from), Some(to)) => (to.saturating_sub(from) as f64 / 1e6).max(0.0),
            _ => 0.0,
        }
    }

    /// The latest event time that is known of it.
    pub fn last_at(&self) -> i64 {
        let fix = (self.totals.fixes > 0).then_some(self.totals.last_at);
        [self.started_at, self.stopped_at, fix]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(i64::MIN)
    }
}
