//! Parts of the stream that had nothing for a shard. It is told of them only once in a while: a
//! shard that nothing is written to costs no transaction a batch, and while it is away it holds
//! up nobody but those whose data it has.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::projection::Span;

/// Offsets after which it is told; as many are read again after a start, at most.
const TOLD_AFTER: u64 = 10_000;

/// By generation and partition, the last part without a row for the shard.
#[derive(Default)]
pub(crate) struct Idle(Mutex<HashMap<(u32, u32), Span>>);

impl Idle {
    /// The span with the idle part that it follows: as much as the shard is at after it.
    pub(crate) fn since(&self, span: Span) -> Span {
        let idle = self.lock();
        let before = idle.get(&span.place()).filter(|idle| idle.to == span.from);
        before.map_or(span, |idle| Span {
            from: idle.from,
            ..span
        })
    }

    /// Takes note of a span without a row; gives it back where the shard is to be told.
    pub(crate) fn pass(&self, span: Span) -> Option<Span> {
        let whole = self.since(span);
        self.lock().insert(span.place(), whole);
        (whole.to.saturating_sub(whole.from) >= TOLD_AFTER).then_some(whole)
    }

    /// The shard was told.
    pub(crate) fn told(&self, span: Span) {
        self.lock().remove(&span.place());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(u32, u32), Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span {
            generation: 1,
            partition: 3,
            from,
            to,
        }
    }

    #[test]
    fn idle_parts_join_and_are_told_when_they_are_long() {
        let idle = Idle::default();
        assert_eq!(idle.pass(span(10, 20)), None);
        assert_eq!(idle.pass(span(20, 30)), None);
        assert_eq!(idle.since(span(30, 31)), span(10, 31));
        assert_eq!(
            idle.since(span(40, 41)),
            span(40, 41),
            "not what was not seen"
        );
        let long = span(10, 10 + TOLD_AFTER);
        assert_eq!(idle.pass(span(30, long.to)), Some(long));
        idle.told(long);
        assert_eq!(
            idle.since(span(long.to, long.to + 1)),
            span(long.to, long.to + 1)
        );
    }
}
