//! One destination in one lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use laneway_directory::DestinationEntry;
use laneway_log::Batch;
use laneway_runtime::tenants::TenantHandle;
use laneway_schemas::SinkCursor;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::cursor::Cursor;
use super::destination::{Destination, Event};
use super::queue::Queues;
use super::reading::Reading;
use crate::event::Filter;

/// Events that wait in memory over all targets of the process; bounds them together.
pub struct Budget {
    used: AtomicUsize,
    most: usize,
}

/// Even where the process is full, a target may keep a few, so that all of them move.
const SHARE: usize = 16;

impl Budget {
    pub fn new(most: usize) -> Self {
        Budget {
            used: AtomicUsize::new(0),
            most,
        }
    }

    fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.most
    }
}

pub struct Target {
    pub entry: Arc<DestinationEntry>,
    pub generation: u32,
    pub filter: Filter,
    pub cursor: Cursor,
    /// It is known where it begins.
    pub placed: bool,
    pub queues: Queues,
    pub breaker: Arc<Breaker>,
    pub counts: TenantHandle,
    /// `None` until its settings have been read.
    pub destination: Option<Arc<dyn Destination>>,
    /// It and its tenant are active.
    pub active: bool,
    /// Everything below the lane's head has been taken or passed; what follows comes from there.
    pub riding: bool,
    pub concurrency: usize,
    pub reading: Option<Reading>,
    /// What was read and not taken yet, and from which record on.
    pub held: Option<(Batch, usize)>,
    /// What the log has of its cursor.
    pub written: Option<SinkCursor>,
    pub wake: Option<Instant>,
    pub last_done: Instant,
    /// Outcomes of attempts of an earlier life are not its own.
    pub life: u64,
    pending: usize,
    budget: Arc<Budget>,
}

impl Target {
    #[expect(
        clippy::too_many_arguments,
        reason = "called in one place, with what only that place knows"
    )]
    pub fn new(
        entry: Arc<DestinationEntry>,
        generation: u32,
        filter: Filter,
        cursor: Cursor,
        breaker: Arc<Breaker>,
        counts: TenantHandle,
        (pending, budget): (usize, Arc<Budget>),
        concurrency: usize,
        life: u64,
        now: Instant,
    ) -> Self {
        Target {
            entry,
            generation,
            filter,
            cursor,
            placed: true,
            queues: Queues::default(),
            breaker,
            counts,
            destination: None,
            active: true,
            riding: false,
            concurrency: concurrency.max(1),
            reading: None,
            held: None,
            written: None,
            wake: None,
            last_done: now,
            life,
            pending: pending.max(1),
            budget,
        }
    }

    /// It goes on from the cursor, with the lane's head where it is there already.
    pub fn place(&mut self, cursor: Cursor, head: u64) {
        self.placed = true;
        self.riding = self.active && cursor.read() >= head;
        self.cursor = cursor.counting_on(&self.cursor);
    }

    pub fn is_full(&self) -> bool {
        let waiting = self.queues.len();
        waiting >= self.pending || (waiting >= SHARE && self.budget.is_spent())
    }

    /// Whether there is room enough to make reading worth it.
    pub fn has_room(&self) -> bool {
        !self.is_full() && self.queues.len() <= self.pending / 2
    }

    pub fn take(&mut self, event: Arc<Event>) {
        self.cursor.take(event.offset);
        self.take_again(event);
    }

    /// From the dead letters: the cursor has long passed it.
    pub fn take_again(&mut self, event: Arc<Event>) {
        self.budget.used.fetch_add(1, Ordering::Relaxed);
        self.queues.push(event);
    }

    /// The event is delivered, for the first time as far as the log knows.
    pub fn delivered(&mut self, event: &Event, now: Instant) {
        self.cursor.acknowledged();
        self.done(event, now);
    }

    /// The event is delivered or parked.
    pub fn done(&mut self, event: &Event, now: Instant) {
        self.cursor.done(event.offset);
        self.budget.used.fetch_sub(1, Ordering::Relaxed);
        self.queues.done(event);
        self.last_done = now;
    }

    /// Gives the reader to others; reading goes on from the cursor.
    pub fn stop_reading(&mut self) {
        self.reading = None;
        self.held = None;
    }

    /// The record to write, where the log's is not true any more. Of a target that rides with
    /// nothing open one is enough, until more is delivered: the group's committed offset says how
    /// far it is.
    pub fn record(&self, lane: u32) -> Option<SinkCursor> {
        if !self.placed {
            return None;
        }
        let record = self.cursor.record(
            self.entry.tenant,
            self.entry.id,
            self.generation,
            lane,
            self.riding,
        );
        let level = self.riding && !self.cursor.has_open();
        let said = self.written.as_ref().is_some_and(|written| {
            let was_level = written.riding && written.open.is_empty();
            level && was_level && written.delivered == record.delivered
        });
        if said {
            return None;
        }
        (self.written.as_ref() != Some(&record)).then_some(record)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.budget
            .used
            .fetch_sub(self.queues.len(), Ordering::Relaxed);
    }
}
