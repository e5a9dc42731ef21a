//! A websocket's server end that shares what it sends.
//!
//! Frames of events are the same bytes for every subscriber, so they go to the socket as they
//! are, many in one write, without being copied into a buffer of each connection. `tungstenite`
//! reads, answers pings and closes; what it writes joins the same queue, a whole frame at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// What is read from the socket at once.
const READ: usize = 1024;
/// What each connection keeps for what its client says: a pong, seldom more.
const READ_BUFFER: usize = 128;
const SLICES: usize = 32;

pub enum SocketEvent {
    Text(Utf8Bytes),
    Pong,
    /// The queue has been written out, which was asked for.
    Drained,
    Closed,
}

pub struct Socket<IO> {
    io: IO,
    context: WebSocketContext,
    wire: Wire,
    /// Whether `context` may have more to tell before anything else is read.
    hearing: bool,
    written: u64,
    flushing: bool,
}

/// What `tungstenite` reads from and writes to.
#[derive(Default)]
struct Wire {
    heard: Bytes,
    /// Nothing will be heard any more.
    over: bool,
    out: VecDeque<Bytes>,
    queued: usize,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    pub fn new(io: IO, max_message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Its few frames go to our queue at once.
            .write_buffer_size(0)
            .max_write_buffer_size(16 * 1024)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Socket {
            io,
            context,
            wire: Wire::default(),
            hearing: false,
            written: 0,
            flushing: false,
        }
    }

    /// Queues whole frames.
    pub fn send(&mut self, frames: Bytes) {
        if !frames.is_empty() {
            self.wire.push(frames);
        }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.wire.queued
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn ping(&mut self) -> Result<(), Error> {
        self.context
            .write(&mut self.wire, Message::Ping(Bytes::new()))?;
        self.context.flush(&mut self.wire)
    }

    pub fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        // Closed already is as good.
        let _ = self.context.close(&mut self.wire, Some(frame));
    }

    /// Writes what waits and reads what came. Comes back when all has been written only
    /// where that is asked for.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        tell_drained: bool,
    ) -> Poll<Result<SocketEvent, Error>> {
        let drained = self.poll_drain(cx)?.is_ready() && tell_drained;
        if let Poll::Ready(event) = self.poll_heard(cx) {
            return Poll::Ready(event);
        }
        if drained {
            return Poll::Ready(Ok(SocketEvent::Drained));
        }
        // Reading may have queued a pong.
        let _ = self.poll_drain(cx)?;
        Poll::Pending
    }

    /// Reads what came. While nothing comes, which is nearly always, the connection's own
    /// buffer is not touched.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketEvent, Error>> {
        loop {
            if !self.hearing {
                let mut space = [MaybeUninit::uninit(); READ];
                let mut read = ReadBuf::uninit(&mut space);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
                self.wire.heard = Bytes::copy_from_slice(read.filled());
                self.wire.over = read.filled().is_empty();
                self.hearing = true;
            }
            let event = match self.context.read(&mut self.wire) {
                Ok(Message::Text(text)) => Ok(SocketEvent::Text(text)),
                Ok(Message::Pong(_)) => Ok(SocketEvent::Pong),
                Ok(
                    Message::Ping(_) | Message::Close(_) | Message::Binary(_) | Message::Frame(_),
                ) => continue,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(SocketEvent::Closed),
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.hearing = false;
                    continue;
                }
                Err(error) => Err(error),
            };
            return Poll::Ready(event);
        }
    }

    /// Writes until the queue is empty.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.wire.queued > 0 {
            let io = Pin::new(&mut self.io);
            let out = &self.wire.out;
            let written = if out.len() > 1 && io.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                for (slot, bytes) in slices.iter_mut().zip(out) {
                    *slot = IoSlice::new(bytes);
                }
                let used = out.len().min(SLICES);
                ready!(io.poll_write_vectored(cx, &slices[..used]))?
            } else {
                // Less work for the system than a vector of one.
                ready!(io.poll_write(cx, &out[0]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wire.advance(written);
            self.written += written as u64;
            self.flushing = true;
        }
        if self.flushing {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    fn push(&mut self, frames: Bytes) {
        self.queued += frames.len();
        self.out.push_back(frames);
    }

    /// Drops what has been written.
    fn advance(&mut self, mut written: usize) {
        self.queued -= written;
        while let Some(front) = self.out.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.out.pop_front();
        }
        if self.out.capacity() > SLICES {
            self.out = VecDeque::new();
        }
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.heard.is_empty() && !self.over {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = bytes.len().min(self.heard.len());
        self.heard.copy_to_slice(&mut bytes[..length]);
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::WebSocketStream;

    use super::*;

    async fn pair() -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = duplex(64 * 1024);
        let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        (Socket::new(ours, 8 * READ), client)
    }

    async fn heard(socket: &mut Socket<DuplexStream>) -> Result<SocketEvent, Error> {
        poll_fn(|cx| socket.poll(cx, false)).await
    }

    async fn text(socket: &mut Socket<DuplexStream>) -> Utf8Bytes {
        match heard(socket).await {
            Ok(SocketEvent::Text(text)) => text,
            _ => panic!("a text was sent"),
        }
    }

    #[tokio::test]
    async fn what_comes_in_one_read_or_in_many_is_heard_message_by_message() {
        let (mut socket, mut client) = pair().await;
        let long = "x".repeat(5 * READ);
        for text in ["one", "two", &long, "three"] {
            client.feed(Message::text(text)).await.unwrap();
        }
        client.feed(Message::Ping(b"?"[..].into())).await.unwrap();
        client.send(Message::text("last")).await.unwrap();
        for expected in ["one", "two", &long, "three", "last"] {
            assert_eq!(text(&mut socket).await.as_str(), expected);
        }
        tokio::select! {
            _ = heard(&mut socket) => panic!("nothing more was said"),
            pong = client.next() => {
                assert_eq!(pong.unwrap().unwrap(), Message::Pong(b"?"[..].into()));
            }
        }
        client.close(None).await.unwrap();
        assert!(matches!(heard(&mut socket).await, Ok(SocketEvent::Closed)));
    }

    #[tokio::test]
    async fn an_end_without_a_word_is_an_error_also_within_a_message() {
        for said in [&[][..], &[0x81, 0x85, 1, 2, 3, 4, 5]] {
            let (mut socket, mut client) = pair().await;
            client.get_mut().write_all(said).await.unwrap();
            drop(client);
            assert!(heard(&mut socket).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_an_error() {
        let (mut socket, mut client) = pair().await;
        let text = Message::text("x".repeat(8 * READ + 1));
        client.send(text).await.unwrap();
        let refused = heard(&mut socket).await;
        assert!(matches!(refused, Err(Error::Capacity(_))));
    }
}
