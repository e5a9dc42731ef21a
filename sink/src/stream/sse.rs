//! Server-sent events (WHATWG HTML, section 9.2): the same feed as an HTTP response.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use laneway_runtime::Problem;
use laneway_runtime::http::{Body, BodyError};
use laneway_runtime::tenants::TenantHandle;
use laneway_tenancy::TenantScope;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::StreamContext;
use super::connections::Registered;
use super::feed::{Feed, FeedEvent};
use super::subscriber::{Picked, Push};
use crate::position::LanePosition;

/// One write is closed at this size.
const WINDOW: usize = 64 * 1024;
/// How long a client may take to read why its stream ends.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct SseConnection {
    pub context: Arc<StreamContext>,
    pub scope: TenantScope,
    pub registered: Registered,
    pub counts: TenantHandle,
    pub feed: Feed,
}

impl SseConnection {
    /// The response; its body goes on until either end has had enough.
    pub fn respond(self) -> Response<Body> {
        let (sender, body) = Channel::<Bytes, BodyError>::new(2);
        self.context.tasks.clone().spawn(self.run(sender));
        let mut response = Response::new(body.boxed());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    async fn run(mut self, mut sender: Sender<Bytes, BodyError>) {
        // Where the client stands after the events given out: the feed is ahead of it by the
        // rest of a chunk.
        let mut client = self.feed.consumed();
        let every = Duration::from_secs(self.context.settings.token_seconds.max(1));
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = self.registered.ended.clone();
        let mut ended = pin!(ended.cancelled());
        loop {
            let (bytes, failed) = tokio::select! {
                biased;
                () = &mut ended => return self.leave(&mut sender).await,
                events = poll_fn(|cx| self.poll_events(cx, &mut client)) => events,
                _ = beat.tick() => (self.beat(&mut client), None),
            };
            if !bytes.is_empty() {
                let sent = tokio::select! {
                    biased;
                    () = &mut ended => return self.leave(&mut sender).await,
                    sent = sender.send_data(bytes) => sent,
                };
                if sent.is_err() {
                    return;
                }
            }
            if let Some(problem) = failed {
                // The client connects again, and is told why in the response if it lasts.
                return end(&mut sender, &problem).await;
            }
        }
    }

    /// Of a sink that stops the client only connects again.
    async fn leave(&self, sender: &mut Sender<Bytes, BodyError>) {
        if !self.context.stop.is_cancelled() {
            end(sender, &changed()).await;
        }
    }

    /// Everything that is ready, up to the window, and why nothing follows it.
    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut [LanePosition],
    ) -> Poll<(Bytes, Option<Problem>)> {
        let mut out = BytesMut::new();
        while out.len() < WINDOW {
            match self.feed.poll_next(cx) {
                Poll::Ready(Ok(FeedEvent::Events(push))) => self.write(&push, client, &mut out),
                Poll::Ready(Ok(FeedEvent::CaughtUp)) => out.put_slice(b": caught up\n\n"),
                Poll::Ready(Err(problem)) => return Poll::Ready((out.freeze(), Some(problem))),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((out.freeze(), None))
    }

    fn write(&self, push: &Push, client: &mut [LanePosition], out: &mut BytesMut) {
        let entries = push.chunk.entries();
        let count = match &push.picked {
            Picked::All => entries.len(),
            Picked::Some(picked) => picked.len(),
        };
        for i in 0..count {
            let entry = match &push.picked {
                Picked::All => &entries[i],
                Picked::Some(picked) => &entries[picked[i] as usize],
            };
            move_to(client, push.chunk.lane, entry.offset + 1);
            out.put_slice(b"id: ");
            out.put_slice(self.context.tokens.seal(&self.scope, client).as_bytes());
            out.put_slice(b"\ndata: ");
            out.put_slice(&push.chunk.event(entry));
            out.put_slice(b"\n\n");
        }
        self.counts.add(self.context.delivered, count as u64);
        move_to(client, push.chunk.lane, push.chunk.next);
    }

    /// Keeps the connection open; where the filter skipped something, an id without an event
    /// (which clients remember) says how far.
    fn beat(&mut self, client: &mut Vec<LanePosition>) -> Bytes {
        let positions = self.feed.positions();
        if positions == *client {
            return Bytes::from_static(b": keep-alive\n\n");
        }
        *client = positions;
        let token = self.context.tokens.seal(&self.scope, client);
        Bytes::from(format!(": keep-alive\nid: {token}\n\n"))
    }
}

fn move_to(client: &mut [LanePosition], lane: u32, next: u64) {
    if let Some(position) = client.iter_mut().find(|p| p.lane == lane) {
        position.next = position.next.max(next);
    }
}

/// The last thing a client reads, if it reads at all.
async fn end(sender: &mut Sender<Bytes, BodyError>, problem: &Problem) {
    let error = Bytes::from(format!("event: error\ndata: {}\n\n", problem.to_json()));
    // Gone already, or not reading.
    let _ = timeout(PATIENCE, sender.send_data(error)).await;
}

fn changed() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "credentials-changed",
        "The key, the grant or the tenant has changed",
        "Connect again.",
    )
}
