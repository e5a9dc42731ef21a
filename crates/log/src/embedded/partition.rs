//! What is known of a partition in memory: its bounds, and its newest records.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::Row;
use crate::{Batch, Bounds, LogError, Result, Topic};

/// Where records at an offset are.
pub(super) enum Found {
    CaughtUp,
    Tail(Batch),
    /// Only the database has them.
    Stored,
}

pub(super) struct Partition {
    topic: Topic,
    index: u32,
    /// `state.end`, to be asked without the lock.
    end: AtomicU64,
    state: Mutex<State>,
}

struct State {
    earliest: u64,
    /// The newest batches, without gaps up to the end. Always empty where the topic is
    /// compacted: a reader of its past must not see records that have been replaced.
    tail: VecDeque<Batch>,
    tail_bytes: usize,
    tail_limit: usize,
}

impl Partition {
    pub(super) fn new(topic: Topic, index: u32, row: &Row, tail_limit: usize) -> Self {
        Partition {
            topic,
            index,
            end: AtomicU64::new(row.end),
            state: Mutex::new(State {
                earliest: row.earliest,
                tail: VecDeque::new(),
                tail_bytes: 0,
                tail_limit,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn bounds(&self) -> Bounds {
        let state = self.state();
        let end = self.end();
        Bounds {
            earliest: state.earliest,
            last_stable: end,
            end,
        }
    }

    /// Makes a commit visible: `fresh` in offset order, then the new bounds.
    pub(super) fn publish(&self, row: &Row, fresh: impl IntoIterator<Item = Batch>) {
        let mut state = self.state();
        for batch in fresh {
            state.tail_bytes += batch.footprint();
            state.tail.push_back(batch);
        }
        state.earliest = row.earliest;
        while let Some(front) = state.tail.front() {
            if state.tail_bytes <= state.tail_limit && front.next_offset() > row.earliest {
                break;
            }
            state.tail_bytes -= front.footprint();
            state.tail.pop_front();
        }
        self.end.store(row.end, Ordering::Release);
    }

    pub(super) fn out_of_range(&self, offset: u64) -> LogError {
        let Bounds { earliest, end, .. } = self.bounds();
        LogError::OutOfRange {
            topic: self.topic,
            partition: self.index,
            offset,
            earliest,
            end,
        }
    }

    pub(super) fn find(&self, offset: u64) -> Result<Found> {
        let end = self.end();
        if offset == end {
            return Ok(Found::CaughtUp);
        }
        let state = self.state();
        if offset < state.earliest || offset > self.end() {
            drop(state);
            return Err(self.out_of_range(offset));
        }
        match state.tail.front() {
            Some(front) if front.first_offset() <= offset => {
                let at = state
                    .tail
                    .partition_point(|batch| batch.next_offset() <= offset);
                match state.tail.get(at) {
                    Some(batch) => {
                        let batch = batch.clone();
                        drop(state);
                        Ok(Found::Tail(batch.part_from(offset)))
                    }
                    None => Ok(Found::CaughtUp),
                }
            }
            _ => Ok(Found::Stored),
        }
    }
}
