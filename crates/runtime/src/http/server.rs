//! Listeners: an accept loop of our own, so that every timeout and bound is set.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;

use super::connection::{Activity, Answering, Order, Stream, TooLong, Transport};
use super::even::even;
use super::forwarded::{Cidr, client_address};
use super::listen::{Listener, Socket, listen, listen_unix};
use super::tls::{Certificate, HostCertificates, TlsConfig};
use super::{Peer, Service};
use crate::Lifecycle;

/// A request head, and what hyper holds of a body at a time.
const MAX_BUFFER: usize = 64 * 1024;
/// Before accepting again, when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct ListenConfig {
    pub address: SocketAddr,
    pub tls: Option<TlsConfig>,
    /// With TLS: certificates of hosts that have their own.
    pub host_certificates: Option<Arc<dyn HostCertificates>>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// From the first byte of a request head to its end (up to twice that before it is noticed),
    /// and for a TLS handshake.
    pub header_timeout: Duration,
    /// Between requests, and for one that reads nothing of its response.
    pub idle_timeout: Duration,
    /// More wait in the kernel until one ends.
    pub max_connections: usize,
}

impl ListenConfig {
    /// Plain HTTP at `address` with the usual bounds.
    pub fn plain(address: SocketAddr) -> Self {
        ListenConfig {
            address,
            tls: None,
            host_certificates: None,
            trusted_proxies: Vec::new(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_connections: 65_536,
        }
    }
}

/// A bound listener that does not answer yet.
pub struct Server {
    listener: Listener,
    bounds: Arc<Bounds>,
    places: Arc<Semaphore>,
    certificate: Option<Arc<Certificate>>,
    tls: Option<Arc<ServerConfig>>,
}

struct Bounds {
    trusted_proxies: Vec<Cidr>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl Server {
    /// Binds at once, so that a taken port or a broken certificate is an error at start.
    pub fn bind(config: ListenConfig) -> anyhow::Result<Server> {
        let listener = listen(config.address).with_context(|| {
            format!(
                "listening on {}: choose another address, or stop what uses it",
                config.address
            )
        })?;
        let hosts = config.host_certificates;
        let certificate = config
            .tls
            .map(|files| Certificate::open(files, hosts))
            .transpose()?;
        let tls = certificate
            .as_ref()
            .map(Certificate::server_config)
            .transpose()?;
        Ok(Server {
            listener: Listener::Tcp(listener),
            bounds: Arc::new(Bounds {
                trusted_proxies: config.trusted_proxies,
                header_timeout: config.header_timeout,
                idle_timeout: config.idle_timeout,
            }),
            places: Arc::new(Semaphore::new(
                config.max_connections.clamp(1, Semaphore::MAX_PERMITS),
            )),
            certificate,
            tls,
        })
    }

    /// The operator's local socket: whoever may open the file is the operator. A socket that a
    /// killed process left behind is replaced, one that answers is an error.
    pub fn bind_unix(path: &Path) -> anyhow::Result<Server> {
        let listener = listen_unix(path)
            .with_context(|| format!("listening on the local socket {}", path.display()))?;
        let plain = ListenConfig::plain(SocketAddr::from(([0, 0, 0, 0], 0)));
        Ok(Server {
            listener: Listener::Unix(listener, path.to_owned()),
            bounds: Arc::new(Bounds {
                trusted_proxies: Vec::new(),
                header_timeout: plain.header_timeout,
                idle_timeout: plain.idle_timeout,
            }),
            places: Arc::new(Semaphore::new(64)),
            certificate: None,
            tls: None,
        })
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    /// Answers from now on until the drain: then responses in flight are finished, and the
    /// connections closed. Returns at once; the lifecycle waits for the rest. Upgraded
    /// connections belong to the service.
    pub fn serve(self, service: Arc<dyn Service>, lifecycle: &Lifecycle) {
        if let Some(certificate) = self.certificate.clone() {
            lifecycle.spawn("tls certificate", certificate.follow(lifecycle.clone()));
        }
        lifecycle.spawn("http listener", self.accept(service, lifecycle.clone()));
    }

    async fn accept(self, service: Arc<dyn Service>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        let mut watched = Watched::default();
        let mut look = self.bounds.look();
        loop {
            let accepted = async {
                let place = self.places.clone().acquire_owned().await?;
                Ok::<_, anyhow::Error>((self.listener.accept().await, place))
            };
            let (accepted, place) = tokio::select! {
                () = &mut draining => break,
                _ = look.tick() => {
                    watched.look(&self.bounds);
                    continue;
                }
                accepted = accepted => accepted?,
            };
            match accepted {
                Ok((socket, address)) => {
                    let connection = Connection {
                        service: service.clone(),
                        bounds: self.bounds.clone(),
                        tls: self.tls.clone(),
                        address,
                        activity: watched.one_more(),
                    };
                    lifecycle.spawn_detached(connection.run(socket, place));
                }
                // The other end went away between connecting and being accepted.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed; raise the limit of open files if there are too many");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        watched.finish();
        if let Listener::Unix(_, path) = &self.listener {
            // What is left of it is replaced at the next start.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

impl Bounds {
    /// When to look whether a connection takes too long.
    fn look(&self) -> Interval {
        let every = self
            .header_timeout
            .min(self.idle_timeout)
            .max(Duration::from_millis(10));
        let mut look = tokio::time::interval_at(Instant::now() + every, every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look
    }
}

/// The connections of one listener, looked at together: one that looked by itself would do so
/// every time that it is woken.
#[derive(Default)]
struct Watched {
    activities: Vec<Arc<Activity>>,
    /// As many, and those that are over are let go.
    tidy_at: usize,
}

impl Watched {
    fn one_more(&mut self) -> Arc<Activity> {
        if self.activities.len() >= self.tidy_at {
            self.tidy();
        }
        let activity = Arc::new(Activity::default());
        self.activities.push(activity.clone());
        activity
    }

    fn tidy(&mut self) {
        self.activities.retain(|activity| !activity.is_over());
        self.tidy_at = (self.activities.len() * 2).max(1024);
    }

    fn look(&mut self, bounds: &Bounds) {
        self.tidy();
        for activity in &self.activities {
            match activity.too_long(bounds.header_timeout, bounds.idle_timeout) {
                None => {}
                Some(TooLong::Idle) => activity.tell(Order::Finish),
                Some(why) => {
                    tracing::debug!(?why, "closing a connection that takes too long");
                    activity.tell(Order::Close);
                }
            }
        }
    }

    fn finish(&self) {
        for activity in &self.activities {
            activity.tell(Order::Finish);
        }
    }
}

struct Connection {
    service: Arc<dyn Service>,
    bounds: Arc<Bounds>,
    tls: Option<Arc<ServerConfig>>,
    address: Option<IpAddr>,
    activity: Arc<Activity>,
}

/// Also of one that is broken off.
impl Drop for Connection {
    fn drop(&mut self) {
        self.activity.tell(Order::Over);
    }
}

impl Connection {
    async fn run(self, socket: Socket, place: OwnedSemaphorePermit) {
        if let Some(transport) = self.handshake(socket).await {
            let stream = Stream::new(transport, self.activity.clone(), place);
            if let Err(error) = self.serve(stream).await {
                tracing::debug!(%error, "a connection ended with an error");
            }
        }
    }

    async fn serve(&self, stream: Stream) -> hyper::Result<()> {
        let answer = service_fn(|request: Request<Incoming>| {
            let in_flight = self.activity.request();
            let proxies = &self.bounds.trusted_proxies;
            let peer = Peer {
                address: self
                    .address
                    .map(|address| client_address(address, request.headers(), proxies)),
                local_operator: self.address.is_none(),
            };
            let begun = Instant::now();
            let response = self.service.call(request, peer);
            async move {
                let response = even(begun, response.await).await;
                Ok::<_, Infallible>(response.map(|body| Answering::new(body, in_flight)))
            }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(hyper_util::rt::TokioTimer::new())
            // Ours tells a slow head from an idle connection.
            .header_read_timeout(None)
            .max_buf_size(MAX_BUFFER)
            // Nearly every answer is small: a copy costs less than a second segment.
            .writev(false)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        tokio::pin!(serving);
        let mut known = None;
        let told = poll_fn(|cx| match self.activity.told(cx, &mut known) {
            Some(order) => Poll::Ready(Err(order)),
            None => serving.as_mut().poll(cx).map(Ok),
        });
        match told.await {
            Ok(ended) => return ended,
            Err(Order::Finish) => serving.as_mut().graceful_shutdown(),
            Err(Order::Close | Order::Over) => return Ok(()),
        }
        // The listener may be gone: from here it looks by itself.
        let mut look = self.bounds.look();
        loop {
            tokio::select! {
                ended = serving.as_mut() => return ended,
                _ = look.tick() => {
                    let (head, idle) = (self.bounds.header_timeout, self.bounds.idle_timeout);
                    if !matches!(self.activity.too_long(head, idle), None | Some(TooLong::Idle)) {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn handshake(&self, socket: Socket) -> Option<Transport> {
        match (socket, &self.tls) {
            (Socket::Unix(stream), _) => Some(Transport::Unix(stream)),
            (Socket::Tcp(stream), None) => Some(Transport::Tcp(stream)),
            (Socket::Tcp(stream), Some(config)) => {
                let handshake = TlsAcceptor::from(config.clone()).accept(stream);
                match tokio::time::timeout(self.bounds.header_timeout, handshake).await {
                    Ok(Ok(stream)) => Some(Transport::Tls(Box::new(stream))),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a TLS handshake failed");
                        None
                    }
                    Err(_) => None,
                }
            }
        }
    }
}
