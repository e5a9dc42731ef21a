//! A TCP proxy on loopback that can fail on purpose.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::ports;

const CHUNK: usize = 16 * 1024;
/// Chunks on their way in one direction of one connection.
const IN_FLIGHT: usize = 256;

/// Forwards connections to a target until told otherwise. Ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    target: String,
    conduct: watch::Sender<Conduct>,
    accepted: Arc<AtomicUsize>,
    acceptor: Mutex<Option<Acceptor>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Conduct {
    stalled: bool,
    latency: Duration,
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
            conduct: watch::Sender::new(Conduct::default()),
            accepted: Arc::default(),
            acceptor: Mutex::new(None),
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
        let acceptor = self
            .acceptor
            .lock()
            .map_err(|_| anyhow!("the proxy's lock is poisoned"))?
            .take();
        if let Some(Acceptor { task, stop }) = acceptor {
            drop(stop);
            task.await.context("ending the proxy's connections")?;
        }
        Ok(())
    }

    /// Keeps connections and accepts new ones, but moves no byte until [`restore`](Self::restore),
    /// which then delivers what was held.
    pub fn stall(&self) {
        self.conduct.send_modify(|conduct| conduct.stalled = true);
    }

    /// Delays every byte by `each_way`, in each direction, without narrowing the stream.
    pub fn latency(&self, each_way: Duration) {
        self.conduct
            .send_modify(|conduct| conduct.latency = each_way);
    }

    /// Ends a cut and a stall. A latency stays; it ends with `latency(Duration::ZERO)`.
    pub async fn restore(&self) -> Result<()> {
        self.conduct.send_modify(|conduct| conduct.stalled = false);
        let running = self
            .acceptor
            .lock()
            .map_err(|_| anyhow!("the proxy's lock is poisoned"))?
            .is_some();
        if running {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address)
            .await
            .with_context(|| format!("listening on the proxy's port {}", self.address))?;
        let (stop, stopped) = watch::channel(());
        let task = accept(
            listener,
            self.target.clone(),
            self.conduct.subscribe(),
            Arc::clone(&self.accepted),
            stopped,
        );
        let acceptor = Acceptor {
            task: tokio::spawn(task),
            stop,
        };
        *self
            .acceptor
            .lock()
            .map_err(|_| anyhow!("the proxy's lock is poisoned"))? = Some(acceptor);
        Ok(())
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    conduct: watch::Receiver<Conduct>,
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
                connections.spawn(forward(client, target.clone(), conduct.clone()));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Until both directions have ended, or one fails: then both sides are closed.
async fn forward(client: TcpStream, target: String, conduct: watch::Receiver<Conduct>) {
    let Ok(server) = TcpStream::connect(&target).await else {
        return;
    };
    let _no_delay = client
        .set_nodelay(true)
        .and_then(|()| server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let _closed = tokio::try_join!(
        pump(from_client, to_server, conduct.clone()),
        pump(from_server, to_client, conduct),
    );
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut conduct: watch::Receiver<Conduct>,
) -> std::io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(IN_FLIGHT);
    let latency = conduct.clone();
    let read = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            if from.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            let due = Instant::now() + latency.borrow().latency;
            if sender.send((due, chunk.freeze())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if conduct.wait_for(|conduct| !conduct.stalled).await.is_err() {
                return Ok(());
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
