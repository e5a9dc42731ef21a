//! The sessions of a device: made by the first fix, start or stop that names them.

use laneway_schemas::{Attributes, SessionAction};

use super::device::{Device, Touch};
use super::session::Session;
use super::window::minute_of;
use super::{Bounds, Derived};

/// Sessions that a device may have at a time: the one that was quiet longest gives way.
const MAX_SESSIONS: usize = 64;

/// A start or a stop.
#[derive(Debug)]
pub struct SessionStep<'a> {
    pub session: &'a str,
    pub action: SessionAction,
    pub at: i64,
    pub received_at: i64,
    pub attributes: &'a Attributes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The session started: to be said at once.
    Started,
    /// It stopped: said at the end of the unit.
    Stopped,
    /// The same had been read before: nothing changes.
    Repeat,
    /// Of a session that is not known (any more), and behind the horizon: nothing changes.
    Late,
}

impl Device {
    pub fn apply_session(
        &mut self,
        step: &SessionStep<'_>,
        bounds: &Bounds,
        touch: &mut Touch,
        emit: &mut dyn FnMut(Derived<'_>),
    ) -> SessionOutcome {
        let edge = self.session_edge(bounds);
        let known = self.extra().is_some_and(|extra| {
            let session = extra.sessions.iter().find(|s| *s.id == *step.session);
            session.is_some_and(|s| {
                s.started_at.is_some() || s.stopped_at.is_some() || s.last_at() >= edge
            })
        });
        if !known && step.at < edge {
            return SessionOutcome::Late;
        }
        let Some(index) = self.session_named(step.session, emit) else {
            return SessionOutcome::Late;
        };
        let session = &mut self.extra_mut().sessions[index];
        let outcome = match step.action {
            SessionAction::Start if session.started_at.is_some() => return SessionOutcome::Repeat,
            SessionAction::Stop if session.stopped_at.is_some() => return SessionOutcome::Repeat,
            SessionAction::Start => {
                session.started_at = Some(step.at);
                session.pending |= session.stopped_at.is_some() || session.totals.fixes > 0;
                SessionOutcome::Started
            }
            SessionAction::Stop => {
                session.stopped_at = Some(step.at);
                session.stop_attributes = step.attributes.clone();
                session.stale |= session.totals.fixes > 0 && session.totals.last_at > step.at;
                session.pending = true;
                SessionOutcome::Stopped
            }
        };
        self.received(step.received_at, touch);
        outcome
    }

    /// The place of a session among the device's, new where the name is. `None` where the device
    /// names hundreds of sessions within its horizon.
    pub(super) fn session_named(
        &mut self,
        id: &str,
        emit: &mut dyn FnMut(Derived<'_>),
    ) -> Option<usize> {
        if let Some(index) = self.extra_mut().sessions.iter().position(|s| *s.id == *id) {
            return Some(index);
        }
        if self.extra_mut().sessions.len() >= MAX_SESSIONS {
            self.drop_quietest(emit);
        }
        // A session that gave way may have left points with its slot.
        let mut taken = [false; 256];
        taken[0] = true;
        self.points
            .rows()
            .iter()
            .for_each(|p| taken[usize::from(p.slot)] = true);
        let extra = self.extra_mut();
        extra
            .sessions
            .iter()
            .for_each(|s| taken[usize::from(s.slot)] = true);
        let free = (1..=u8::MAX).find(|slot| !taken[usize::from(*slot)])?;
        extra
            .sessions
            .push(Session::new(id, free, extra.revision_base));
        Some(extra.sessions.len() - 1)
    }

    /// Says what is pending of the sessions, then drops those that nothing can change any more.
    pub(super) fn finish_sessions(
        &mut self,
        idle: bool,
        bounds: &Bounds,
        emit: &mut dyn FnMut(Derived<'_>),
    ) {
        let edge = self.session_edge(bounds);
        let (points, extra) = self.points_and_extra();
        let Some(extra) = extra else { return };
        for session in &mut extra.sessions {
            if session.pending {
                session.settle(points.rows());
                if session.due(idle) {
                    say(session, emit);
                }
            }
        }
        let base = &mut extra.revision_base;
        extra.sessions.retain(|session| {
            let over = session.stopped_at.is_some() || session.started_at.is_none();
            let keep = !over || session.points > 0 || session.last_at() >= edge;
            if !keep {
                *base = (*base).max(session.revision);
            }
            keep
        });
    }

    /// Sessions that ended before this event time are forgotten.
    fn session_edge(&self, bounds: &Bounds) -> i64 {
        self.watermark()
            .map_or(i64::MIN, |w| minute_of(w.saturating_sub(bounds.horizon_us)))
    }

    fn drop_quietest(&mut self, emit: &mut dyn FnMut(Derived<'_>)) {
        let (points, extra) = self.points_and_extra();
        let Some(extra) = extra else { return };
        let quietest = (0..extra.sessions.len()).min_by_key(|i| (extra.sessions[*i].last_at(), *i));
        let Some(quietest) = quietest else { return };
        let mut session = extra.sessions.remove(quietest);
        session.settle(points.rows());
        if session.due(true) {
            say(&mut session, emit);
        }
        extra.revision_base = extra.revision_base.max(session.revision);
    }
}

fn say(session: &mut Session, emit: &mut dyn FnMut(Derived<'_>)) {
    session.revision += 1;
    session.pending = false;
    match session.stopped_at {
        Some(stopped_at) => emit(Derived::Stopped {
            session,
            stopped_at,
        }),
        None => {
            session.emitted_at = Some(session.totals.last_at);
            emit(Derived::Updated { session });
        }
    }
}
