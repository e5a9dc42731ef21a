//! A TCP proxy on loopback that can fail on purpose.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::ports;

const CHUNK: usize = 16 * 1024;
/// Chunks on their way in one direction of one connection.
const IN_FLIGHT: usize = 256;

/// Forwards connections to a target until told otherwise. Ends when it is dropped, or with the
/// runtime that it was started on.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    target: String,
    conduct: Arc<watch::Sender<Conduct>>,
    trap: Arc<Mutex<Option<Trap>>>,
    altering: Arc<Mutex<Altering>>,
    accepted: Arc<AtomicUsize>,
    acceptor: Mutex<Option<Acceptor>>,
    runtime: Handle,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

#[derive(Debug, Clone, Copy, Default)]
struct Conduct {
    to_server_stalled: bool,
    to_client_stalled: bool,
    latency: Duration,
}

impl Conduct {
    fn stall(&mut self, way: Way) {
        match way {
            Way::ToServer => self.to_server_stalled = true,
            Way::ToClient => self.to_client_stalled = true,
        }
    }

    fn stalled(&self, way: Way) -> bool {
        match way {
            Way::ToServer => self.to_server_stalled,
            Way::ToClient => self.to_client_stalled,
        }
    }
}

/// Whether what a client has sent is what is looked for.
type Picks = dyn FnMut(&[u8]) -> bool + Send;

/// A stall that waits for what a client sends.
struct Trap {
    way: Way,
    picks: Box<Picks>,
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trap")
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

/// Changes what passes, in place.
type Alter = dyn FnMut(Way, &mut [u8]) + Send;

#[derive(Default)]
struct Altering(Option<Box<Alter>>);

impl fmt::Debug for Altering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Altering").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug)]
struct Acceptor {
    task: JoinHandle<()>,
    // Dropping it ends the task.
    stop: watch::Sender<()>,
}

impl FaultProxy {
    /// Listens on a free loopback port and forwards to `target` (`host:port`).
    pub async fn start(target: &str) -> Result<Self> {
        let proxy = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)),
            target: target.to_owned(),
            conduct: Arc::default(),
            trap: Arc::default(),
            altering: Arc::default(),
            accepted: Arc::default(),
            acceptor: Mutex::new(None),
            runtime: Handle::current(),
        };
        proxy.restore().await?;
        Ok(proxy)
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Closes every connection and refuses new ones, from before this returns until [`restore`](Self::restore).
    pub async fn cut(&self) -> Result<()> {
        let acceptor = lock(&self.acceptor)?.take();
        if let Some(Acceptor { task, stop }) = acceptor {
            drop(stop);
            task.await.context("ending the proxy's connections")?;
        }
        Ok(())
    }

    /// Keeps connections and accepts new ones, but moves no byte until [`restore`](Self::restore),
    /// which then delivers what was held.
    pub fn stall(&self) {
        self.conduct.send_modify(|conduct| {
            conduct.stall(Way::ToServer);
            conduct.stall(Way::ToClient);
        });
    }

    /// Moves no byte of any connection `way` from the moment that a client has sent what `picks`
    /// looks for, until [`restore`](Self::restore). Held `ToClient`, the server still gets it, and
    /// its answer is what waits.
    pub fn stall_at(
        &self,
        way: Way,
        picks: impl FnMut(&[u8]) -> bool + Send + 'static,
    ) -> Result<()> {
        *lock(&self.trap)? = Some(Trap {
            way,
            picks: Box::new(picks),
        });
        Ok(())
    }

    /// Gives all that passes to `alter`, until [`restore`](Self::restore).
    pub fn alter(&self, alter: impl FnMut(Way, &mut [u8]) + Send + 'static) -> Result<()> {
        lock(&self.altering)?.0 = Some(Box::new(alter));
        Ok(())
    }

    /// Waits until a stall has begun.
    pub async fn stalled(&self) {
        let stalled =
            |conduct: &Conduct| conduct.stalled(Way::ToServer) || conduct.stalled(Way::ToClient);
        let mut conduct = self.conduct.subscribe();
        // Its sender is this proxy's.
        let _begun = conduct.wait_for(stalled).await;
    }

    /// Delays every byte by `each_way`, in each direction, without narrowing the stream.
    pub fn latency(&self, each_way: Duration) {
        self.conduct
            .send_modify(|conduct| conduct.latency = each_way);
    }

    /// Ends a cut, alterations, and a stall, also one that has yet to begin. A latency stays; it ends with
    /// `latency(Duration::ZERO)`.
    pub async fn restore(&self) -> Result<()> {
        *lock(&self.trap)? = None;
        lock(&self.altering)?.0 = None;
        self.conduct.send_modify(|conduct| {
            *conduct = Conduct {
                latency: conduct.latency,
                ..Conduct::default()
            };
        });
        if lock(&self.acceptor)?.is_some() {
            return Ok(());
        }
        let listener = self
            .runtime
            .spawn(TcpListener::bind(self.address))
            .await?
            .with_context(|| format!("listening on the proxy's port {}", self.address))?;
        let (stop, stopped) = watch::channel(());
        let faults = Faults {
            conduct: Arc::clone(&self.conduct),
            trap: Arc::clone(&self.trap),
            altering: Arc::clone(&self.altering),
        };
        let accepted = Arc::clone(&self.accepted);
        let task = accept(listener, self.target.clone(), faults, accepted, stopped);
        *lock(&self.acceptor)? = Some(Acceptor {
            task: self.runtime.spawn(task),
            stop,
        });
        Ok(())
    }
}

fn lock<T>(of_proxy: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    of_proxy
        .lock()
        .map_err(|_| anyhow!("the proxy's lock is poisoned"))
}

/// What a connection has to know of how the proxy shall fail.
#[derive(Clone)]
struct Faults {
    conduct: Arc<watch::Sender<Conduct>>,
    trap: Arc<Mutex<Option<Trap>>>,
    altering: Arc<Mutex<Altering>>,
}

impl Faults {
    fn alter(&self, way: Way, chunk: &mut [u8]) {
        let mut altering = self.altering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alter) = &mut altering.0 {
            alter(way, chunk);
        }
    }

    /// Begins the stall that waits for these bytes of a client, if they are what it looks for.
    fn look(&self, chunk: &[u8]) {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sprung) = trap.take_if(|trap| (trap.picks)(chunk)) {
            self.conduct
                .send_modify(|conduct| conduct.stall(sprung.way));
        }
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    faults: Faults,
    accepted: Arc<AtomicUsize>,
    mut stopped: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The sender never sends: this is its end.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(forward(client, target.clone(), faults.clone()));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Until both directions have ended, or one fails: then both sides are closed.
async fn forward(client: TcpStream, target: String, faults: Faults) {
    let Ok(server) = TcpStream::connect(&target).await else {
        return;
    };
    let _no_delay = client
        .set_nodelay(true)
        .and_then(|()| server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let _closed = tokio::try_join!(
        pump(from_client, to_server, Way::ToServer, faults.clone()),
        pump(from_server, to_client, Way::ToClient, faults),
    );
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    faults: Faults,
) -> std::io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(IN_FLIGHT);
    let mut conduct = faults.conduct.subscribe();
    let latency = conduct.clone();
    let reading = faults.clone();
    let read = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            if from.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            reading.alter(way, &mut chunk);
            let due = Instant::now() + latency.borrow().latency;
            if sender.send((due, chunk.freeze())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if way == Way::ToServer {
                faults.look(&chunk);
            }
            let moving = |conduct: &Conduct| !conduct.stalled(way);
            if conduct.wait_for(moving).await.is_err() {
                return Ok(());
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
