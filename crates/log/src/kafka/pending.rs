//! The acknowledgement that the records of one append share.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::{LogError, Result};

/// Counts the records of one append down to its acknowledgement. One allocation and one wake
/// serve the whole batch.
pub(super) struct Pending {
    /// Records without an outcome yet, and one for the caller while it still queues them.
    outstanding: AtomicUsize,
    waker: AtomicWaker,
    error: OnceLock<LogError>,
    /// What to give back to the admission when it is over.
    pub(super) bytes: usize,
}

impl Pending {
    pub(super) fn new(records: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Pending {
            outstanding: AtomicUsize::new(records + 1),
            waker: AtomicWaker::new(),
            error: OnceLock::new(),
            bytes,
        })
    }

    /// Only the first error is kept.
    pub(super) fn fail(&self, error: LogError) {
        let _ = self.error.set(error);
    }

    /// Takes `records` off the count; true for whoever took the last.
    pub(super) fn settle(&self, records: usize) -> bool {
        let last = self.outstanding.fetch_sub(records, Ordering::AcqRel) == records;
        if last {
            self.waker.wake();
        }
        last
    }
}

/// Resolves when every record of the append has its outcome.
pub(super) struct Acknowledged(pub(super) Arc<Pending>);

impl Future for Acknowledged {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = &self.0;
        if pending.outstanding.load(Ordering::Acquire) != 0 {
            pending.waker.register(cx.waker());
            // The last record may have been settled before the waker was there.
            if pending.outstanding.load(Ordering::Acquire) != 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(match pending.error.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        })
    }
}
