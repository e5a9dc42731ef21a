//! A subscriber's way from its cursor to where it joins the live tail.
//!
//! All lanes are read until each is near its end; then the subscriber joins the tail in all of
//! them at one point between two batches, and what lies between its cursor and that point is
//! read to the offset. So there is no gap and no repeat, whatever is appended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{LogError, Topic};
use tokio::sync::mpsc;

use super::StreamContext;
use super::hub::Joined;
use super::subscriber::{Push, Subscriber};
use crate::event::Chunk;

/// So many offsets behind the end it joins: they fit into its queue while it reads the rest.
const NEAR: u64 = 256;
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub enum Step {
    /// What is wanted of a lane up to `next`.
    Read {
        lane: u32,
        next: u64,
        push: Option<Push>,
    },
    /// Everything up to where the subscriber's queue begins has been sent.
    Joined,
}

struct Lane {
    lane: u32,
    next: u64,
    /// The lane's end when it was looked for.
    end: u64,
    /// Where the subscriber's queue begins, once it has joined.
    until: Option<u64>,
}

pub struct CatchUp {
    context: Arc<StreamContext>,
    subscriber: Arc<Subscriber>,
    lanes: Vec<Lane>,
    steps: mpsc::Sender<Result<Step, LogError>>,
}

impl CatchUp {
    /// Starts reading from these offsets. Ends when the receiver is dropped.
    pub fn start(
        context: &Arc<StreamContext>,
        subscriber: &Arc<Subscriber>,
        from: &[(u32, u64)],
    ) -> mpsc::Receiver<Result<Step, LogError>> {
        let (steps, receiver) = mpsc::channel(1);
        let lanes = from
            .iter()
            .map(|(lane, next)| Lane {
                lane: *lane,
                next: *next,
                end: 0,
                until: None,
            })
            .collect();
        let catch_up = CatchUp {
            context: Arc::clone(context),
            subscriber: Arc::clone(subscriber),
            lanes,
            steps,
        };
        let stop = context.stop.clone();
        context.tasks.spawn(async move {
            let steps = catch_up.steps.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = steps.closed() => {}
                () = catch_up.run() => {}
            }
        });
        receiver
    }

    async fn run(mut self) {
        loop {
            match self.read().await {
                Ok(()) => return,
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "reading history failed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    // A receiver that is gone has no use for the reason.
                    let _ = self.steps.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Until the subscriber has joined and has read what lies before, or is gone.
    async fn read(&mut self) -> Result<(), LogError> {
        loop {
            while let Some(at) = self.behind() {
                let (lane, next) = (self.lanes[at].lane, self.lanes[at].next);
                let history = &self.context.history;
                let chunk = history.read(&self.subscriber, lane, next).await?;
                let step = self.take(at, chunk);
                if self.steps.send(Ok(step)).await.is_err() {
                    return Ok(());
                }
            }
            if self.lanes.iter().all(|l| l.until.is_some()) {
                // The same.
                let _ = self.steps.send(Ok(Step::Joined)).await;
                return Ok(());
            }
            self.look().await?;
            let near = |l: &Lane| l.end.saturating_sub(l.next) <= NEAR;
            if self.lanes.iter().all(near) && !self.join().await {
                return Ok(());
            }
        }
    }

    /// A lane that is not read up to where it is known to go.
    fn behind(&self) -> Option<usize> {
        let behind = |l: &Lane| l.next < l.until.unwrap_or(l.end);
        self.lanes.iter().position(behind)
    }

    /// Looks where the lanes end. The tail knows it of those that it reads.
    async fn look(&mut self) -> Result<(), LogError> {
        let context = &self.context;
        for lane in &mut self.lanes {
            lane.end = match context.hub.tail(lane.lane) {
                Some(tail) => tail,
                None => {
                    let bounds = context.log.bounds(Topic::TenantStreams, lane.lane).await?;
                    bounds.last_stable
                }
            };
        }
        Ok(())
    }

    async fn join(&mut self) -> bool {
        let cursors = self.lanes.iter().map(|l| (l.lane, l.next)).collect();
        // A cursor is given for every lane.
        let Ok(Joined::At(at)) = self
            .context
            .hub
            .join(Arc::clone(&self.subscriber), cursors)
            .await
        else {
            return false;
        };
        for (lane, until) in at {
            if let Some(l) = self.lanes.iter_mut().find(|l| l.lane == lane) {
                l.until = Some(until);
            }
        }
        true
    }

    /// What is wanted of a chunk, from the lane's cursor to where the queue begins.
    fn take(&mut self, at: usize, chunk: Arc<Chunk>) -> Step {
        let lane = &mut self.lanes[at];
        let next = chunk.next.min(lane.until.unwrap_or(u64::MAX));
        let picked = self.subscriber.pick(&chunk, lane.next, next);
        lane.next = next;
        Step::Read {
            lane: lane.lane,
            next,
            push: picked.map(|picked| Push { chunk, picked }),
        }
    }
}
