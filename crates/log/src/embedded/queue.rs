//! The bounded queue in front of the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::group::MemberId;
use crate::{LogError, Records, Result, Unit};

/// Something to commit, and whom to tell.
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) bytes: usize,
    pub(super) done: oneshot::Sender<Result<()>>,
}

pub(super) enum Work {
    Append(Records),
    Unit(MemberId, Unit),
}

impl Work {
    pub(super) fn records(&self) -> &Records {
        match self {
            Work::Append(records) => records,
            Work::Unit(_, unit) => &unit.records,
        }
    }
}

/// What the writer finds when it looks.
pub(super) enum Taken {
    Requests(Vec<Request>),
    /// Nothing came in time, or somebody asked the writer to look around.
    Nothing,
    /// Closed, and everything has been taken.
    Closed,
}

pub(super) struct Queue {
    max_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    /// Of all that is not acknowledged yet, so also of what the writer has taken.
    bytes: usize,
    nudged: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Queue {
            max_bytes,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `work`; what it came to is sent to the receiver. A request that is larger than
    /// the bound is taken when nothing else waits, so that it is not refused for ever.
    pub(super) fn push(&self, work: Work) -> Result<oneshot::Receiver<Result<()>>> {
        // What a record without bytes costs here.
        let bytes = work.records().bytes() + work.records().len() * 32;
        let (done, receiver) = oneshot::channel();
        let mut state = self.state();
        if state.closed {
            return Err(LogError::Closed);
        }
        if state.bytes > 0 && state.bytes + bytes > self.max_bytes {
            return Err(LogError::Busy {
                queued_bytes: state.bytes,
            });
        }
        state.bytes += bytes;
        state.waiting.push_back(Request { work, bytes, done });
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Waits for requests, at most until `deadline`, and takes what fits into one commit.
    pub(super) fn take(&self, deadline: Instant, max_bytes: usize) -> Taken {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if std::mem::take(&mut state.nudged) || left == Duration::ZERO {
                return Taken::Nothing;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(request) = state.waiting.front() {
            if !taken.is_empty() && bytes + request.bytes > max_bytes {
                break;
            }
            bytes += request.bytes;
            taken.extend(state.waiting.pop_front());
        }
        Taken::Requests(taken)
    }

    /// Gives the bytes of acknowledged requests back.
    pub(super) fn release(&self, bytes: usize) {
        self.state().bytes -= bytes;
    }

    /// Makes the writer look around without a request.
    pub(super) fn nudge(&self) {
        self.state().nudged = true;
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}
