//! What a device forgets: points behind its floor, of which it keeps the ids for longer. A window
//! is only ever computed while all points in its reach are remembered, so forgetting never makes
//! one wrong.

use super::device::{Device, Touch};
use super::window::{MINUTE_US, REACH_US, minute_of};
use super::{Bounds, Derived};

/// Points of the last minutes may exceed the bound by this factor before they give way, too.
const HARD_FACTOR: usize = 8;
/// Fixes ahead or behind the horizon that are still recognised as repeats.
const RING: usize = 64;

impl Device {
    /// Raises the floor after a fix was added, and forgets what lies out of reach of it.
    pub(super) fn raise_floor(
        &mut self,
        bounds: &Bounds,
        touch: &mut Touch,
        emit: &mut dyn FnMut(Derived<'_>),
    ) {
        let Some(watermark) = self.watermark() else {
            return;
        };
        let mut floor = minute_of(watermark.saturating_sub(bounds.horizon_us));
        let rows = self.points.rows();
        if let Some(excess) = rows
            .len()
            .checked_sub(bounds.max_points.max(1))
            .filter(|e| *e > 0)
        {
            if rows.len() > bounds.max_points.saturating_mul(HARD_FACTOR) {
                return self.seal_all(bounds, watermark, touch, emit);
            }
            let beyond =
                minute_of(rows[excess - 1].at.saturating_add(REACH_US)).saturating_add(MINUTE_US);
            floor = floor.max(beyond.min(minute_of(watermark)));
        }
        self.floor = self.floor.max(floor);
        let limit = self.floor.saturating_sub(REACH_US);
        if self.points.rows().first().is_some_and(|p| p.at < limit) {
            self.finish_windows(touch, emit);
            self.forget(self.points.first_at(limit), bounds);
            self.forget_blocks(limit);
        }
    }

    /// Forgets everything but the last point, which the way to the next fix starts from: what
    /// lies up to the end of its minute is late from now on.
    pub(super) fn seal_all(
        &mut self,
        bounds: &Bounds,
        watermark: i64,
        touch: &mut Touch,
        emit: &mut dyn FnMut(Derived<'_>),
    ) {
        if std::mem::take(&mut self.open) {
            touch.mark(minute_of(watermark));
        }
        self.finish_windows(touch, emit);
        self.floor = minute_of(watermark).saturating_add(MINUTE_US);
        self.forget(self.points.len().saturating_sub(1), bounds);
        if let Some(last) = self.points.rows_mut().last_mut() {
            last.in_tail = true;
            self.tail = 1;
        }
        self.forget_blocks(i64::MAX);
    }

    /// The event time from which fixes are remembered at least by their id.
    pub(super) fn horizon(&self, bounds: &Bounds) -> i64 {
        let watermark = self.watermark().unwrap_or(i64::MIN);
        minute_of(watermark.saturating_sub(bounds.horizon_us))
    }

    /// Remembers a fix that becomes no point.
    pub(super) fn remember_id(&mut self, id: u64, at: i64, late: bool, bounds: &Bounds) {
        let horizon = self.horizon(bounds);
        if late && at >= horizon && bounds.remembered_ids > 0 {
            let (_, seen) = self.points_and_seen();
            seen.add(id, at);
            seen.trim(horizon, bounds.remembered_ids);
            return;
        }
        let ring = &mut self.extra_mut().ring;
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(id);
    }

    fn forget(&mut self, count: usize, bounds: &Bounds) {
        let horizon = self.horizon(bounds);
        let within = self.points.first_at(horizon);
        if within < count && bounds.remembered_ids > 0 {
            let (points, seen) = self.points_and_seen();
            let forgotten = points.rows().iter().zip(points.ids());
            for (point, id) in forgotten.take(count).skip(within) {
                seen.add(*id, point.at);
            }
        }
        if self.seen().is_some_and(|seen| !seen.is_empty()) {
            let (_, seen) = self.points_and_seen();
            seen.trim(horizon, bounds.remembered_ids);
        }
        let (points, extra) = self.points_and_extra();
        let mut of_tail = 0;
        let mut extra = extra;
        for point in &points.rows()[..count] {
            of_tail += u32::from(point.in_tail);
            if point.slot != 0 {
                let session = extra
                    .as_mut()
                    .and_then(|e| e.sessions.iter_mut().find(|s| s.slot == point.slot));
                if let Some(session) = session {
                    session.seal(point);
                }
            }
        }
        points.forget(count);
        self.tail = self.tail.saturating_sub(of_tail);
    }

    fn forget_blocks(&mut self, limit: i64) {
        if let (_, Some(extra)) = self.points_and_extra() {
            while extra.blocks.front().is_some_and(|last_at| *last_at < limit) {
                extra.blocks.pop_front();
                extra.first_block += 1;
            }
        }
    }
}
