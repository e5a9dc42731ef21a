//! The bounded queue between a client's own thread and the task that takes from it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{LogError, Result};

/// Filled by one thread, emptied by one task. The bound is on bytes of records; everything
/// else is rare and always finds room, so that a full queue never holds up a rebalance.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Notify,
    space: Condvar,
    max_bytes: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// What [`Queue::next`] says once the queue is empty.
    ended: Option<LogError>,
}

impl<T> Queue<T> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Queue {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                ended: None,
            }),
            ready: Notify::new(),
            space: Condvar::new(),
            max_bytes,
        }
    }

    /// Appends, whatever is in the queue: see [`Queue::wait_for_space`].
    pub(super) fn push(&self, item: T, bytes: usize) {
        self.push_if(item, bytes, || true);
    }

    /// Appends if `still`, which is judged under the queue's lock.
    pub(super) fn push_if(&self, item: T, bytes: usize, still: impl FnOnce() -> bool) {
        let mut state = self.lock();
        if state.ended.is_none() && still() {
            state.items.push_back((item, bytes));
            state.bytes += bytes;
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Whether there is room for records, waiting up to `timeout` for it.
    pub(super) fn wait_for_space(&self, timeout: Duration) -> bool {
        let state = self.lock();
        let full = |state: &mut State<T>| state.bytes >= self.max_bytes && state.ended.is_none();
        let waited = self
            .space
            .wait_timeout_while(state, timeout, full)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    /// Removes what is not `kept`; `also` runs under the same lock.
    pub(super) fn retain(&self, kept: impl Fn(&T) -> bool, also: impl FnOnce()) {
        let mut state = self.lock();
        also();
        let mut removed = 0;
        state.items.retain(|(item, bytes)| {
            let keep = kept(item);
            removed += if keep { 0 } else { *bytes };
            keep
        });
        state.bytes -= removed;
        drop(state);
        self.space.notify_all();
    }

    /// Ends the queue: what is in it is dropped, and every further take says `error`.
    pub(super) fn end(&self, error: LogError) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.ended = Some(error);
            state.items.clear();
            state.bytes = 0;
        }
        drop(state);
        self.space.notify_all();
        self.ready.notify_one();
    }

    pub(super) fn ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// The next item. Cancel-safe: an item is taken and returned without a wait between.
    pub(super) async fn next(&self) -> Result<T> {
        loop {
            {
                let mut state = self.lock();
                if let Some((item, bytes)) = state.items.pop_front() {
                    let was_full = state.bytes >= self.max_bytes;
                    state.bytes -= bytes;
                    drop(state);
                    if was_full {
                        self.space.notify_all();
                    }
                    return Ok(item);
                }
                if let Some(error) = &state.ended {
                    return Err(error.clone());
                }
            }
            self.ready.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
