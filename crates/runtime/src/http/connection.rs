//! One connection: its stream, what it is doing, and when it has been doing nothing for too long.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::{Body, BodyError};

/// Bytes of a connection.
#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Runs `$call` on whatever the transport is.
macro_rules! on_transport {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($stream) => $call,
            Transport::Tls($stream) => $call,
            Transport::Unix($stream) => $call,
        }
    };
}

/// What a connection is at, and what it is told. Shared by its stream, its requests and its watch.
/// What each request looks at is in one cache line: with many connections, none is found there
/// from the time before.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Activity {
    state: Mutex<State>,
    /// An [`Order`], or 0.
    order: AtomicU8,
    /// Of the connection, while it does not know its order.
    waker: AtomicWaker,
}

/// What a connection is told from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// To end once what it is answering is answered.
    Finish = 1,
    /// To end as it is.
    Close,
    /// Nothing: it has ended, or is none of HTTP any more.
    Over,
}

#[derive(Debug)]
struct State {
    /// Requests that have been read and not been answered yet.
    in_flight: u32,
    waiting: Waiting,
    /// Since when the other end takes nothing of what is written.
    stuck_since: Option<Instant>,
}

/// What a connection waits for that has no request in flight.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// A request, since the last answer was given.
    Idle(Instant),
    /// The rest of a request's head, since its first byte came.
    Head(Instant),
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLong {
    Head,
    Idle,
    Stuck,
}

impl Default for State {
    fn default() -> Self {
        State {
            in_flight: 0,
            waiting: Waiting::Idle(Instant::now()),
            stuck_since: None,
        }
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A later order counts only where it is the sterner one.
    pub(super) fn tell(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::AcqRel) < order as u8 {
            self.waker.wake();
        }
    }

    /// What it is told, or else that it will be woken for it. `known` is whoever will be woken.
    pub(super) fn told(&self, cx: &mut Context<'_>, known: &mut Option<Waker>) -> Option<Order> {
        if known
            .as_ref()
            .is_none_or(|known| !known.will_wake(cx.waker()))
        {
            self.waker.register(cx.waker());
            *known = Some(cx.waker().clone());
        }
        match self.order.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Order::Finish),
            2 => Some(Order::Close),
            _ => Some(Order::Over),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.order.load(Ordering::Acquire) == Order::Over as u8
    }

    /// A request is being answered until what this returns is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.lock().in_flight += 1;
        InFlight(self.clone())
    }

    fn read_something(&self) {
        let mut state = self.lock();
        if state.in_flight == 0 && matches!(state.waiting, Waiting::Idle(_)) {
            state.waiting = Waiting::Head(Instant::now());
        }
    }

    /// The other end takes nothing any more, or something again.
    fn stuck(&self, stuck: bool) {
        self.lock().stuck_since = stuck.then(Instant::now);
    }

    /// Whether the connection has to be closed as of now.
    pub(super) fn too_long(&self, head: Duration, idle: Duration) -> Option<TooLong> {
        let state = self.lock();
        let now = Instant::now();
        let past = |since: Instant, bound| now.duration_since(since) >= bound;
        if state.stuck_since.is_some_and(|since| past(since, idle)) {
            return Some(TooLong::Stuck);
        }
        match state.waiting {
            _ if state.in_flight > 0 => None,
            Waiting::Head(since) => past(since, head).then_some(TooLong::Head),
            Waiting::Idle(since) => past(since, idle).then_some(TooLong::Idle),
        }
    }
}

pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight -= 1;
        state.waiting = Waiting::Idle(Instant::now());
    }
}

/// A response's body: its request is in flight until all of it is handed over.
pub(super) struct Answering {
    body: Body,
    _in_flight: InFlight,
}

impl Answering {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Answering {
            body,
            _in_flight: in_flight,
        }
    }
}

impl hyper::body::Body for Answering {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's stream. It holds the connection's place among those allowed, also once the
/// stream has been upgraded to something else than HTTP.
pub(super) struct Stream {
    transport: Transport,
    activity: Arc<Activity>,
    /// The last write had to wait.
    stuck: bool,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    pub(super) fn new(
        transport: Transport,
        activity: Arc<Activity>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Stream {
            transport,
            activity,
            stuck: false,
            _place: place,
        }
    }

    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        let stuck = result.is_pending();
        if stuck != self.stuck {
            self.stuck = stuck;
            self.activity.stuck(stuck);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(on_transport!(&mut self.transport, s => Pin::new(s).poll_read(cx, buf)))?;
        if buf.filled().len() > before {
            self.activity.read_something();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = on_transport!(&mut self.transport, s => Pin::new(s).poll_write(cx, buf));
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result =
            on_transport!(&mut self.transport, s => Pin::new(s).poll_write_vectored(cx, bufs));
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        on_transport!(&self.transport, s => s.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(&mut self.transport, s => Pin::new(s).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(&mut self.transport, s => Pin::new(s).poll_shutdown(cx))
    }
}
