//! One websocket connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use laneway_runtime::Problem;
use laneway_runtime::tenants::TenantHandle;
use laneway_tenancy::{Placement, TenantScope};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, timeout};

use super::connections::Registered;
use super::feed::{Feed, FeedEvent};
use super::protocol::{self, ClientMessage, Subscribe};
use super::socket::{Socket, SocketEvent};
use super::subscriber::{Picked, Push};
use super::{StreamContext, frame, start};
use crate::event::Filter;
use crate::position::LanePosition;

/// Nothing more is taken from the feed while so much waits to be written.
const WINDOW: usize = 64 * 1024;
/// How many pings may go unanswered.
const MISSED: u32 = 2;
/// How long a client may be silent before it subscribes, and may take to read the last frames.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many pings a client that reads nothing at all is given before it counts as gone.
const STALLED: u32 = 30;

pub struct Connection<IO> {
    pub context: Arc<StreamContext>,
    pub scope: TenantScope,
    /// What of the stream it may read; `None` for all of it.
    pub within: Option<Filter>,
    pub placement: Placement,
    /// How far back the tenant may read; 0 for all that is there.
    pub retention_seconds: u64,
    pub registered: Registered,
    pub counts: TenantHandle,
    pub socket: Socket<IO>,
}

/// Why a connection ends.
enum End {
    /// Gone, or told its reason.
    Closed,
    Refused(Problem),
    /// Close code and reason.
    Leaving(u16, &'static str),
}

/// Pings and tokens.
struct Beat {
    interval: Interval,
    ticks: u64,
    ticks_per_ping: u64,
    unanswered: u32,
    stalled: u32,
    written: u64,
    last: Vec<LanePosition>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Connection<IO> {
    /// Runs until either end has had enough.
    pub async fn run(mut self, subscribe: Option<Subscribe>) {
        let hello = protocol::hello(self.scope.tenant(), &self.placement);
        self.socket.send(frame::text(&hello));
        let end = match self.subscription(subscribe).await {
            Ok(subscribe) => self.serve(subscribe).await,
            Err(end) => end,
        };
        match end {
            End::Closed => {}
            End::Refused(problem) => {
                self.socket.send(frame::text(&protocol::error(&problem)));
                self.socket
                    .close(protocol::close_code(&problem), problem.title);
            }
            End::Leaving(code, reason) => self.socket.close(code, reason),
        }
        // Whether the last frames arrive is up to the client.
        let _ = timeout(PATIENCE, poll_fn(|cx| self.socket.poll_drain(cx))).await;
        let closing = async {
            while !matches!(
                poll_fn(|cx| self.socket.poll(cx, false)).await,
                Ok(SocketEvent::Closed) | Err(_)
            ) {}
        };
        let _ = timeout(Duration::from_secs(1), closing).await;
    }

    /// What the URL or the first message asks for.
    async fn subscription(&mut self, given: Option<Subscribe>) -> Result<Subscribe, End> {
        if let Some(subscribe) = given {
            return Ok(subscribe);
        }
        let ended = self.registered.ended.clone();
        let first = async {
            loop {
                match poll_fn(|cx| self.socket.poll(cx, false)).await {
                    Ok(SocketEvent::Text(text)) => return Ok(text),
                    Ok(SocketEvent::Pong | SocketEvent::Drained) => {}
                    Ok(SocketEvent::Closed) | Err(_) => return Err(End::Closed),
                }
            }
        };
        let text = tokio::select! {
            () = ended.cancelled() => return Err(self.ended()),
            first = timeout(PATIENCE, first) => {
                first.map_err(|_| End::Leaving(1008, "send a subscribe message first"))??
            }
        };
        match ClientMessage::parse(&text).map_err(End::Refused)? {
            ClientMessage::Subscribe(subscribe) => Ok(subscribe),
            ClientMessage::Token => Err(End::Refused(Problem::bad_request(
                "Subscribe before asking for a token.",
            ))),
        }
    }

    async fn serve(&mut self, subscribe: Subscribe) -> End {
        let opened = match protocol::bounded(subscribe, self.within.as_ref()) {
            Ok(subscribe) => {
                let context = Arc::clone(&self.context);
                let since = context.since(self.retention_seconds);
                open(context, &self.scope, &self.placement, since, subscribe).await
            }
            Err(problem) => Err(problem),
        };
        let mut feed = match opened {
            Ok(feed) => feed,
            Err(problem) => return End::Refused(problem),
        };
        self.socket.send(frame::text(protocol::SUBSCRIBED));
        let mut beat = Beat::new(&self.context);
        let ended = self.registered.ended.clone();
        let mut ended = pin!(ended.cancelled());
        poll_fn(|cx| {
            loop {
                if ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(self.ended());
                }
                if let Err(end) = ready!(self.poll_round(cx, &mut feed, &mut beat)) {
                    return Poll::Ready(end);
                }
            }
        })
        .await
    }

    /// What the feed has is written, what the client says is heard, the beat is kept. Ready
    /// where there may be more to do at once.
    fn poll_round(
        &mut self,
        cx: &mut Context<'_>,
        feed: &mut Feed,
        beat: &mut Beat,
    ) -> Poll<Result<(), End>> {
        self.outgoing(cx, feed)?;
        let full = self.socket.queued() >= WINDOW;
        if let Poll::Ready(event) = self.socket.poll(cx, full) {
            return Poll::Ready(self.incoming(event, feed, beat));
        }
        ready!(beat.interval.poll_tick(cx));
        Poll::Ready(self.beat(feed, beat))
    }

    /// Why [`Registered::ended`] is.
    fn ended(&self) -> End {
        if self.context.stop.is_cancelled() {
            return End::Leaving(1001, "the sink is stopping: connect again");
        }
        let changed = "the key, the grant or the tenant has changed: connect again";
        End::Leaving(4401, changed)
    }

    fn incoming(
        &mut self,
        event: Result<SocketEvent, tokio_tungstenite::tungstenite::Error>,
        feed: &mut Feed,
        beat: &mut Beat,
    ) -> Result<(), End> {
        match event {
            Ok(SocketEvent::Text(text)) => {
                match ClientMessage::parse(&text).map_err(End::Refused)? {
                    ClientMessage::Token => {
                        let positions = feed.positions();
                        self.send_token(&positions);
                    }
                    ClientMessage::Subscribe(_) => {
                        return Err(End::Refused(Problem::bad_request(
                            "This connection has subscribed already; open another one for another filter.",
                        )));
                    }
                }
            }
            Ok(SocketEvent::Pong) => beat.unanswered = 0,
            Ok(SocketEvent::Drained) => {}
            Ok(SocketEvent::Closed) | Err(_) => return Err(End::Closed),
        }
        Ok(())
    }

    /// Queues everything that is ready, up to the window, so that it goes out in one write.
    fn outgoing(&mut self, cx: &mut Context<'_>, feed: &mut Feed) -> Result<(), End> {
        while self.socket.queued() < WINDOW {
            match feed.poll_next(cx) {
                Poll::Ready(Ok(FeedEvent::Events(push))) => self.send_events(&push),
                Poll::Ready(Ok(FeedEvent::CaughtUp)) => {
                    self.socket.send(frame::text(protocol::CAUGHT_UP));
                }
                Poll::Ready(Err(problem)) => return Err(End::Refused(problem)),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn send_events(&mut self, push: &Push) {
        let count = match &push.picked {
            Picked::All => {
                let all = push.chunk.entries().len();
                self.socket.send(push.chunk.frames(0..all));
                all
            }
            Picked::Some(picked) => {
                // Runs of neighbours go out as one piece.
                let runs = picked.chunk_by(|a, b| a + 1 == *b);
                for run in runs {
                    let (first, last) = (run[0] as usize, run[run.len() - 1] as usize);
                    self.socket.send(push.chunk.frames(first..last + 1));
                }
                picked.len()
            }
        };
        self.counts.add(self.context.delivered, count as u64);
    }

    fn beat(&mut self, feed: &mut Feed, beat: &mut Beat) -> Result<(), End> {
        beat.ticks += 1;
        // A client that reads slowly gets its token when it has read what comes before.
        if self.socket.queued() < WINDOW {
            let positions = feed.positions();
            if positions != beat.last {
                self.send_token(&positions);
                beat.last = positions;
            }
        }
        if !beat.ticks.is_multiple_of(beat.ticks_per_ping) {
            return Ok(());
        }
        let written = self.socket.written();
        let moving = written != beat.written;
        beat.written = written;
        if self.socket.queued() > 0 {
            // A ping would only join the queue. Slow is fine, but nothing at all is gone.
            beat.stalled = if moving { 0 } else { beat.stalled + 1 };
            return if beat.stalled > STALLED {
                Err(End::Closed)
            } else {
                Ok(())
            };
        }
        beat.stalled = 0;
        if beat.unanswered >= MISSED {
            return Err(End::Closed);
        }
        beat.unanswered += 1;
        self.socket.ping().map_err(|_| End::Closed)
    }

    fn send_token(&mut self, positions: &[LanePosition]) {
        let token = self.context.tokens.seal(&self.scope, positions);
        self.socket.send(frame::text(&protocol::token(&token)));
    }
}

async fn open(
    context: Arc<StreamContext>,
    scope: &TenantScope,
    placement: &Placement,
    since: Option<i64>,
    subscribe: Subscribe,
) -> Result<Feed, Problem> {
    let from = start::resolve(
        subscribe.start,
        &*context.log,
        &context.tokens,
        scope,
        placement,
        since,
    )
    .await?;
    Feed::start(context, scope, placement, subscribe.filter, from).await
}

impl Beat {
    fn new(context: &StreamContext) -> Self {
        let period = Duration::from_secs(context.settings.token_seconds.max(1));
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks_per_ping = context
            .settings
            .ping_seconds
            .div_ceil(period.as_secs())
            .max(1);
        Beat {
            interval,
            ticks: 0,
            ticks_per_ping,
            unanswered: 0,
            stalled: 0,
            written: 0,
            last: Vec::new(),
        }
    }
}
