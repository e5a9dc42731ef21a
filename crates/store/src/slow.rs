//! Slow statements are logged: for whom, what was being done, how long. Never with what they
//! were given.
//!
//! A statement begins where its transaction lends its connection, and ends where its result is
//! given a name ([`crate::error::Doing`]). The two meet at the next use of the transaction, which
//! is the same task's.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::task;

thread_local! {
    static LAST: Cell<Option<Ended>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Ended {
    task: Option<task::Id>,
    doing: &'static str,
    at: Instant,
}

/// A statement of this task has ended, which was for this.
pub(crate) fn ended(doing: &'static str) {
    LAST.set(Some(Ended {
        task: task::try_id(),
        doing,
        at: Instant::now(),
    }));
}

/// Watches the statements of one transaction.
pub(crate) struct Watch {
    /// For whom.
    scope: String,
    /// Zero is never.
    slow: Duration,
    begun: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(scope: String, slow: Duration) -> Self {
        Watch {
            scope,
            slow,
            begun: None,
        }
    }

    pub(crate) fn begin(&mut self) {
        self.end();
        if !self.slow.is_zero() {
            self.begun = Some(Instant::now());
        }
    }

    fn end(&mut self) {
        let Some(begun) = self.begun.take() else {
            return;
        };
        let named = LAST
            .get()
            .filter(|ended| ended.task == task::try_id() && ended.at >= begun);
        match named {
            Some(ended) => self.took(ended.doing, ended.at - begun),
            // It was given up, or its task went on elsewhere before it came back.
            None => self.took("a statement", begun.elapsed()),
        }
    }

    pub(crate) fn took(&self, doing: &'static str, took: Duration) {
        if self.slow.is_zero() || took < self.slow {
            return;
        }
        metrics::counter!("laneway_store_slow_queries_total").increment(1);
        tracing::warn!(
            scope = self.scope,
            doing,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "a query was slow"
        );
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}
