//! Between the live tail and one connection: a queue bounded by bytes. Where it is full, the
//! subscriber is detached, with the offsets up to which it was offered everything: it goes on
//! from there by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use laneway_tenancy::Placement;

use crate::event::{Chunk, Filter, TenantKey};

/// Which entries of a chunk a subscriber wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picked {
    All,
    Some(Box<[u32]>),
}

#[derive(Clone, Debug)]
pub struct Push {
    pub chunk: Arc<Chunk>,
    pub picked: Picked,
}

/// What comes out of the queue.
#[derive(Debug)]
pub enum Pulled {
    Push(Push),
    /// Everything below these (lane, offset) was offered; nothing more comes.
    Detached(Box<[(u32, u64)]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Taken,
    Full,
    /// Detached or closed: to be forgotten.
    Gone,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Push>,
    bytes: usize,
    attached: bool,
    detached_at: Option<Box<[(u32, u64)]>>,
    /// The connection, where it has found nothing.
    waiting: Option<Waker>,
}

pub struct Subscriber {
    pub tenant: TenantKey,
    pub filter: Filter,
    pub lanes: Box<[u32]>,
    /// Of the tenant's placement.
    pub generation: u32,
    limit: usize,
    state: Mutex<State>,
}

impl Subscriber {
    pub fn new(tenant: TenantKey, filter: Filter, placement: &Placement, limit: usize) -> Self {
        let lanes = placement.lanes.as_slice().into();
        Subscriber {
            tenant,
            filter,
            lanes,
            generation: placement.generation,
            limit,
            state: Mutex::default(),
        }
    }

    /// Opens the queue; the hub alone calls this, when it joins the subscriber.
    pub fn attach(&self) {
        let mut state = self.lock();
        state.attached = true;
        state.detached_at = None;
    }

    /// Offers what the filter wants of a chunk. A queue that is empty takes any chunk.
    pub fn offer(&self, chunk: &Arc<Chunk>) -> Offer {
        let Some(picked) = self.pick(chunk, chunk.from, chunk.next) else {
            return if self.lock().attached {
                Offer::Taken
            } else {
                Offer::Gone
            };
        };
        let mut state = self.lock();
        if !state.attached {
            return Offer::Gone;
        }
        let weight = chunk.weight();
        if !state.queue.is_empty() && state.bytes + weight > self.limit {
            return Offer::Full;
        }
        state.bytes += weight;
        state.queue.push_back(Push {
            chunk: Arc::clone(chunk),
            picked,
        });
        wake(state);
        Offer::Taken
    }

    /// What the filter wants of a chunk's offsets `from..until`; `None` for nothing.
    pub fn pick(&self, chunk: &Chunk, from: u64, until: u64) -> Option<Picked> {
        let entries = chunk.entries();
        let whole = chunk.from >= from && chunk.next <= until;
        if whole && self.filter.all_devices() && self.filter.types().includes(chunk.types()) {
            return (!entries.is_empty()).then_some(Picked::All);
        }
        let picked: Box<[u32]> = (0u32..)
            .zip(entries)
            .filter(|(_, e)| (from..until).contains(&e.offset))
            .filter(|(_, e)| self.filter.wants(e.event_type, chunk.device(e)))
            .map(|(i, _)| i)
            .collect();
        (!picked.is_empty()).then_some(Picked::Some(picked))
    }

    /// Ends the joint ride; what was queued stays.
    pub fn detach(&self, at: Box<[(u32, u64)]>) {
        let mut state = self.lock();
        if state.attached {
            state.attached = false;
            state.detached_at = Some(at);
            wake(state);
        }
    }

    /// The connection is gone.
    pub fn close(&self) {
        let mut state = self.lock();
        state.attached = false;
        state.queue = VecDeque::new();
        // The hub forgets it later; the task's memory does not wait for that.
        state.waiting = None;
    }

    pub fn is_attached(&self) -> bool {
        self.lock().attached
    }

    /// Whether nothing waits and the ride goes on.
    pub fn is_level(&self) -> bool {
        let state = self.lock();
        state.attached && state.queue.is_empty()
    }

    /// The next item.
    pub fn poll_pull(&self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let mut state = self.lock();
        if let Some(push) = state.queue.pop_front() {
            state.bytes -= push.chunk.weight();
            if state.queue.is_empty() && state.queue.capacity() > 16 {
                state.queue = VecDeque::new();
            }
            return Poll::Ready(Pulled::Push(push));
        }
        if let Some(at) = state.detached_at.take() {
            return Poll::Ready(Pulled::Detached(at));
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = state.waiting.take();
    drop(state);
    if let Some(waker) = waiting {
        waker.wake();
    }
}
