//! One subscription: history, then the live tail, and history again where it fell behind.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use laneway_log::{LogError, Topic};
use laneway_runtime::Problem;
use laneway_tenancy::{Placement, TenantScope};
use tokio::sync::mpsc;

use super::StreamContext;
use super::catch_up::{CatchUp, Step};
use super::hub::Joined;
use super::subscriber::{Picked, Pulled, Push, Subscriber};
use crate::event::{Filter, TenantKey};
use crate::position::LanePosition;

pub enum FeedEvent {
    Events(Push),
    /// The history is over: what follows comes as it is appended.
    CaughtUp,
}

enum Mode {
    Live,
    CatchUp(mpsc::Receiver<Result<Step, LogError>>),
}

pub struct Feed {
    context: Arc<StreamContext>,
    subscriber: Arc<Subscriber>,
    /// (lane, next offset): everything below has been given out or was not wanted.
    next: Vec<(u32, u64)>,
    mode: Mode,
}

impl Feed {
    /// From the given offsets, or from what is appended from now on.
    pub async fn start(
        context: Arc<StreamContext>,
        scope: &TenantScope,
        placement: &Placement,
        filter: Filter,
        from: Option<Vec<(u32, u64)>>,
    ) -> Result<Self, Problem> {
        let limit = context.settings.queue_bytes;
        let subscriber = Arc::new(Subscriber::new(
            TenantKey::of(scope.tenant()),
            filter,
            placement,
            limit,
        ));
        let (next, mode) = match from {
            Some(from) => {
                let steps = CatchUp::start(&context, &subscriber, &from);
                (from, Mode::CatchUp(steps))
            }
            None => (live(&context, &subscriber).await?, Mode::Live),
        };
        Ok(Feed {
            context,
            subscriber,
            next,
            mode,
        })
    }

    /// What comes next.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<FeedEvent, Problem>> {
        loop {
            let event = match &mut self.mode {
                Mode::Live => {
                    let pulled = ready!(self.subscriber.poll_pull(cx));
                    self.pulled(pulled)
                }
                Mode::CatchUp(steps) => match ready!(steps.poll_recv(cx)) {
                    Some(Ok(step)) => self.stepped(step),
                    Some(Err(error)) => return Poll::Ready(Err(unreadable(&error))),
                    None => {
                        let stopping = "The sink is stopping; connect again.";
                        return Poll::Ready(Err(Problem::unavailable(stopping)));
                    }
                },
            };
            if let Some(event) = event {
                return Poll::Ready(Ok(event));
            }
        }
    }

    /// Where a subscriber that has received everything given out so far goes on, in all lanes,
    /// past what the filter skipped.
    pub fn positions(&mut self) -> Vec<LanePosition> {
        if matches!(self.mode, Mode::Live) {
            // In this order: what is below these tails was offered before the queue is looked at.
            let tails: Vec<Option<u64>> = self
                .next
                .iter()
                .map(|(lane, _)| self.context.hub.tail(*lane))
                .collect();
            if self.subscriber.is_level() {
                for ((_, next), tail) in self.next.iter_mut().zip(tails) {
                    *next = tail.unwrap_or(0).max(*next);
                }
            }
        }
        self.consumed()
    }

    /// Where a subscriber that has received everything given out so far goes on.
    pub fn consumed(&self) -> Vec<LanePosition> {
        let generation = self.subscriber.generation;
        self.next
            .iter()
            .map(|(lane, next)| LanePosition {
                generation,
                lane: *lane,
                next: *next,
            })
            .collect()
    }

    fn stepped(&mut self, step: Step) -> Option<FeedEvent> {
        match step {
            Step::Read { lane, next, push } => {
                self.advance(lane, next);
                push.map(FeedEvent::Events)
            }
            Step::Joined => {
                self.mode = Mode::Live;
                Some(FeedEvent::CaughtUp)
            }
        }
    }

    fn pulled(&mut self, pulled: Pulled) -> Option<FeedEvent> {
        match pulled {
            Pulled::Push(push) => {
                let given = self.given(push.chunk.lane);
                let (lane, next) = (push.chunk.lane, push.chunk.next);
                self.advance(lane, next);
                trim(push, given).map(FeedEvent::Events)
            }
            Pulled::Detached(at) => {
                for (lane, offset) in at {
                    self.advance(lane, offset);
                }
                self.mode =
                    Mode::CatchUp(CatchUp::start(&self.context, &self.subscriber, &self.next));
                None
            }
        }
    }

    fn given(&self, lane: u32) -> u64 {
        self.next
            .iter()
            .find(|(l, _)| *l == lane)
            .map_or(0, |(_, next)| *next)
    }

    fn advance(&mut self, lane: u32, to: u64) {
        if let Some((_, next)) = self.next.iter_mut().find(|(l, _)| *l == lane) {
            *next = to.max(*next);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.subscriber.close();
    }
}

/// Joins the live tail where it is. The log is asked only for lanes that nobody reads yet, so
/// that a thousand subscribers can come at once.
async fn live(
    context: &StreamContext,
    subscriber: &Arc<Subscriber>,
) -> Result<Vec<(u32, u64)>, Problem> {
    let mut ends = Vec::new();
    loop {
        let joined = context.hub.join(Arc::clone(subscriber), ends.clone()).await;
        match joined.map_err(|e| Problem::unavailable(e.to_string()))? {
            Joined::At(at) => return Ok(at),
            Joined::Unread(lanes) => {
                for lane in lanes {
                    let bounds = context.log.bounds(Topic::TenantStreams, lane).await;
                    ends.push((lane, bounds.map_err(|e| unavailable(&e))?.last_stable));
                }
            }
        }
    }
}

/// Leaves out what was given before: the subscriber's own reading can be ahead of the tail
/// that it joins.
fn trim(push: Push, given: u64) -> Option<Push> {
    let entries = push.chunk.entries();
    if entries.first().is_none_or(|first| first.offset >= given) {
        return Some(push);
    }
    let picked: Box<[u32]> = match push.picked {
        Picked::All => (0u32..).take(entries.len()).collect(),
        Picked::Some(picked) => picked,
    };
    let picked: Box<[u32]> = picked
        .into_iter()
        .filter(|i| entries[*i as usize].offset >= given)
        .collect();
    (!picked.is_empty()).then_some(Push {
        chunk: push.chunk,
        picked: Picked::Some(picked),
    })
}

pub fn unavailable(error: &LogError) -> Problem {
    tracing::warn!(%error, "the log cannot be read for a subscriber");
    Problem::unavailable("The stream cannot be read at the moment.")
}

fn unreadable(error: &LogError) -> Problem {
    match error {
        LogError::OutOfRange { .. } => super::start::expired(),
        other => unavailable(other),
    }
}
