//! A websocket's server end that shares what it sends.
//!
//! Frames of events are the same bytes for every subscriber, so they go to the socket as they
//! are, many in one write, without being copied into a buffer of each connection. `tungstenite`
//! reads, answers pings and closes; what it writes joins the same queue, a whole frame at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

const READ_BUFFER: usize = 1024;
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
    out: VecDeque<Bytes>,
    queued: usize,
    written: u64,
    flushing: bool,
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
            out: VecDeque::new(),
            queued: 0,
            written: 0,
            flushing: false,
        }
    }

    /// Queues whole frames.
    pub fn send(&mut self, frames: Bytes) {
        if !frames.is_empty() {
            self.queued += frames.len();
            self.out.push_back(frames);
        }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn ping(&mut self) -> Result<(), Error> {
        let mut queue = Queue {
            out: &mut self.out,
            queued: &mut self.queued,
        };
        self.context
            .write(&mut queue, Message::Ping(Bytes::new()))?;
        self.context.flush(&mut queue)
    }

    pub fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        let mut queue = Queue {
            out: &mut self.out,
            queued: &mut self.queued,
        };
        // Closed already is as good.
        let _ = self.context.close(&mut queue, Some(frame));
    }

    /// Writes what waits and reads what came. Comes back when all has been written only
    /// where that is asked for.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        tell_drained: bool,
    ) -> Poll<Result<SocketEvent, Error>> {
        let drained = self.poll_drain(cx)?.is_ready() && tell_drained;
        let mut wire = Wire {
            io: &mut self.io,
            cx,
            queue: Queue {
                out: &mut self.out,
                queued: &mut self.queued,
            },
        };
        let event = loop {
            break match self.context.read(&mut wire) {
                Ok(Message::Text(text)) => Some(SocketEvent::Text(text)),
                Ok(Message::Pong(_)) => Some(SocketEvent::Pong),
                Ok(
                    Message::Ping(_) | Message::Close(_) | Message::Binary(_) | Message::Frame(_),
                ) => continue,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => Some(SocketEvent::Closed),
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => return Poll::Ready(Err(error)),
            };
        };
        if let Some(event) = event {
            return Poll::Ready(Ok(event));
        }
        if drained {
            return Poll::Ready(Ok(SocketEvent::Drained));
        }
        // Reading may have queued a pong.
        let _ = self.poll_drain(cx)?;
        Poll::Pending
    }

    /// Writes until the queue is empty.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.queued > 0 {
            let io = Pin::new(&mut self.io);
            let written = if self.out.len() > 1 && io.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                for (slot, bytes) in slices.iter_mut().zip(&self.out) {
                    *slot = IoSlice::new(bytes);
                }
                let used = self.out.len().min(SLICES);
                ready!(io.poll_write_vectored(cx, &slices[..used]))?
            } else {
                // Less work for the system than a vector of one.
                ready!(io.poll_write(cx, &self.out[0]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.take(written);
            self.flushing = true;
        }
        if self.flushing {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, mut written: usize) {
        self.queued -= written;
        self.written += written as u64;
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

/// Takes what `tungstenite` writes.
struct Queue<'a> {
    out: &'a mut VecDeque<Bytes>,
    queued: &'a mut usize,
}

impl Write for Queue<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.queued += bytes.len();
        self.out.push_back(Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Queue<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// … and reads from the socket itself.
struct Wire<'a, 'w, IO> {
    io: &'a mut IO,
    cx: &'a mut Context<'w>,
    queue: Queue<'a>,
}

impl<IO: AsyncRead + Unpin> Read for Wire<'_, '_, IO> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => Ok(buffer.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<IO> Write for Wire<'_, '_, IO> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
