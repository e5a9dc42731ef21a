//! The state of one device, and what a fix does to it.

use std::collections::VecDeque;

use super::id::fix_hash;
use super::point::{Point, Points};
use super::seen::Seen;
use super::session::Session;
use super::window::{REACH_US, minute_of, window};
use super::{Bounds, Derived};

/// A fix that has passed isolation.
#[derive(Debug)]
pub struct Fix<'a> {
    pub id: &'a str,
    pub session: Option<&'a str>,
    pub at: i64,
    pub received_at: i64,
    pub latitude: f64,
    pub longitude: f64,
    pub speed: Option<f64>,
    /// Further ahead of received_at than its tenant allows.
    pub ahead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixOutcome {
    /// The same fix id was read before: nothing changes.
    Repeat,
    Accepted {
        latest: bool,
        late: bool,
    },
}

/// What a unit of work has done to a device so far.
#[derive(Debug, Default)]
pub struct Touch {
    /// Place of the device in its table.
    pub device: u32,
    /// received_at of the last input.
    pub received_at: i64,
    /// Starts of closed windows that have to be said (anew).
    windows: Vec<i64>,
}

impl Touch {
    pub fn reset(&mut self, device: u32) {
        self.device = device;
        self.received_at = i64::MIN;
        self.windows.clear();
    }

    pub(super) fn mark(&mut self, start: i64) {
        if !self.windows.contains(&start) {
            self.windows.push(start);
        }
    }
}

/// Kept small: there are a million of them.
#[derive(Debug, Clone)]
pub struct Device {
    /// The device's id, then the id of its latest fix.
    names: String,
    pub(super) points: Points,
    extra: Option<Box<Extra>>,
    /// recorded_at of the latest fix; `i64::MIN` without one.
    watermark: i64,
    /// A fix before it is late, and a window before it is final. Whole minutes.
    pub(super) floor: i64,
    last_received: i64,
    /// Tenant, by its place in the partition's table.
    pub tenant: u32,
    /// The unit's [`Touch`] of this device, or `u32::MAX`. Not part of the state.
    pub touch: u32,
    /// Points that are in no block yet.
    pub(super) tail: u32,
    device_len: u8,
    /// The watermark's window has something that was not said.
    pub(super) open: bool,
    /// It is in its partition's queue of idle closes. Not part of the state.
    pub queued: bool,
}

/// What most idle devices do not have.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    pub sessions: Vec<Session>,
    /// A new session starts at this revision: higher than any that was dropped.
    pub revision_base: u32,
    /// The newest recorded_at of each block that is still needed.
    pub blocks: VecDeque<i64>,
    pub first_block: u32,
    /// The first block that the log still has.
    pub written_first: u32,
    pub ring: VecDeque<u64>,
    pub seen: Option<Box<Seen>>,
}

impl Device {
    /// `id` is a device id: at most 64 bytes.
    pub fn new(tenant: u32, id: &str) -> Self {
        Device {
            names: id.to_owned(),
            points: Points::default(),
            extra: None,
            watermark: i64::MIN,
            floor: i64::MIN,
            last_received: i64::MIN,
            tenant,
            touch: u32::MAX,
            tail: 0,
            device_len: u8::try_from(id.len()).unwrap_or(u8::MAX),
            open: false,
            queued: false,
        }
    }

    pub fn id(&self) -> &str {
        &self.names[..usize::from(self.device_len)]
    }

    pub fn latest_fix(&self) -> &str {
        &self.names[usize::from(self.device_len)..]
    }

    /// recorded_at of the latest fix.
    pub fn watermark(&self) -> Option<i64> {
        (self.watermark != i64::MIN).then_some(self.watermark)
    }

    pub fn floor(&self) -> i64 {
        self.floor
    }

    pub fn last_received(&self) -> i64 {
        self.last_received
    }

    pub fn points(&self) -> &Points {
        &self.points
    }

    pub fn extra(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub fn seen(&self) -> Option<&Seen> {
        self.extra()?.seen.as_deref()
    }

    pub(super) fn points_and_seen(&mut self) -> (&Points, &mut Seen) {
        let extra = self.extra.get_or_insert_default();
        (&self.points, extra.seen.get_or_insert_default())
    }

    pub(super) fn points_and_extra(&mut self) -> (&mut Points, Option<&mut Extra>) {
        (&mut self.points, self.extra.as_deref_mut())
    }

    pub(super) fn set_latest(&mut self, at: i64, fix_id: &str) {
        self.watermark = at;
        self.names.truncate(usize::from(self.device_len));
        self.names.push_str(fix_id);
    }

    pub(super) fn set_last_received(&mut self, at: i64) {
        self.last_received = at;
    }

    pub(super) fn received(&mut self, at: i64, touch: &mut Touch) {
        self.last_received = self.last_received.max(at);
        touch.received_at = at;
    }

    /// Takes a fix. What has to be said before it is forgotten goes to `emit` at once.
    pub fn apply_fix(
        &mut self,
        fix: &Fix<'_>,
        bounds: &Bounds,
        touch: &mut Touch,
        emit: &mut dyn FnMut(Derived<'_>),
    ) -> FixOutcome {
        let id = fix_hash(fix.id);
        if self.points.contains(id) || self.extra().is_some_and(|e| e.ring.contains(&id)) {
            return FixOutcome::Repeat;
        }
        // At the floor and after it, whatever was seen is a point.
        let late = !fix.ahead && fix.at < self.floor;
        if late && self.seen().is_some_and(|seen| seen.contains(id)) {
            return FixOutcome::Repeat;
        }
        self.received(fix.received_at, touch);
        if fix.ahead || late {
            self.remember_id(id, fix.at, late, bounds);
            return FixOutcome::Accepted {
                latest: false,
                late,
            };
        }
        let latest =
            (fix.at, fix.id) > (self.watermark, self.latest_fix()) || self.watermark().is_none();
        if latest {
            let closed = self
                .open
                .then(|| minute_of(self.watermark))
                .filter(|m| *m < minute_of(fix.at));
            if let Some(closed) = closed {
                touch.mark(closed);
                self.open = false;
            }
            self.set_latest(fix.at, fix.id);
        }
        let session = fix.session.and_then(|name| self.session_named(name, emit));
        let slot = session.map_or(0, |index| self.extra_mut().sessions[index].slot);
        let point = Point {
            at: fix.at,
            latitude: fix.latitude,
            longitude: fix.longitude,
            speed: fix.speed.unwrap_or(f64::NAN),
            slot,
            in_tail: true,
        };
        let place = self.points.insert(id, point);
        self.tail += 1;
        self.changed(minute_of(fix.at), touch);
        // The way to the next fix starts here now.
        let next = self.points.rows().get(place + 1).map(|next| next.at);
        if let Some(next) = next.filter(|next| next.saturating_sub(fix.at) <= REACH_US) {
            self.changed(minute_of(next), touch);
        }
        if let Some(index) = session {
            self.extra_mut().sessions[index].add(&point);
        }
        self.raise_floor(bounds, touch, emit);
        FixOutcome::Accepted { latest, late }
    }

    /// A window that the watermark has not passed stays open; any other is said again.
    fn changed(&mut self, start: i64, touch: &mut Touch) {
        if start == minute_of(self.watermark) {
            self.open = true;
        } else {
            touch.mark(start);
        }
    }

    /// The end of a unit: says what it changed.
    pub fn finish(
        &mut self,
        bounds: &Bounds,
        touch: &mut Touch,
        emit: &mut dyn FnMut(Derived<'_>),
    ) {
        self.finish_windows(touch, emit);
        self.finish_sessions(false, bounds, emit);
    }

    /// Nothing has come for a while: says what has waited for more. Returns whether anything did.
    pub fn close_idle(
        &mut self,
        bounds: &Bounds,
        touch: &mut Touch,
        emit: &mut dyn FnMut(Derived<'_>),
    ) -> bool {
        if !self.waits() {
            return false;
        }
        if std::mem::take(&mut self.open) {
            touch.mark(minute_of(self.watermark));
        }
        self.finish_windows(touch, emit);
        self.finish_sessions(true, bounds, emit);
        true
    }

    /// Whether an idle close would say something.
    pub fn waits(&self) -> bool {
        self.open
            || self
                .extra()
                .is_some_and(|e| e.sessions.iter().any(Session::waits))
    }

    pub(super) fn finish_windows(&self, touch: &mut Touch, emit: &mut dyn FnMut(Derived<'_>)) {
        touch.windows.sort_unstable();
        for start in touch.windows.drain(..) {
            if let Some(value) = window(&self.points, start) {
                emit(Derived::Window { start, value });
            }
        }
    }

    /// Gives back the space that an idle device does not use.
    pub fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.points.shrink();
    }
}
