//! An HTTP receiver on loopback that records what it is sent and answers as told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificates;
use crate::wait;

/// Requests kept; older ones are only counted.
const KEPT: usize = 100_000;
const LARGEST_BODY: usize = 64 << 20;

/// One request that arrived completely.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: http::Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When its body was complete.
    pub arrival: Instant,
    /// What it was answered with.
    pub status: StatusCode,
}

/// What to answer a request with.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    delay: Duration,
    body: Bytes,
}

impl Answer {
    /// An empty answer, at once.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            headers: HeaderMap::new(),
            delay: Duration::ZERO,
            body: Bytes::new(),
        }
    }

    /// With one more header, such as `retry-after`.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(HeaderName::from_static(name), value);
        }
        self
    }

    /// After `delay`, counted from the arrival.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

type Rule = Arc<dyn Fn(&Parts, &Bytes) -> Answer + Send + Sync>;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Webhook {
    scheme: &'static str,
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    listener: AbortHandle,
}

struct Shared {
    rule: Rule,
    kept: VecDeque<Received>,
    count: usize,
    accepted: usize,
}

impl Webhook {
    /// Answers each request with what `rule` says of it.
    pub async fn start(
        rule: impl Fn(&Parts, &Bytes) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::listen(rule, None).await
    }

    /// Answers 200 to everything over TLS, with the server's certificate of these.
    pub async fn accepting_tls(certificates: &Certificates) -> Result<Self> {
        let pem = certificates.server_pem.as_bytes();
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pem)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let tls = TlsAcceptor::from(Arc::new(config));
        Self::listen(|_, _| Answer::status(200), Some(tls)).await
    }

    async fn listen(
        rule: impl Fn(&Parts, &Bytes) -> Answer + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("listening for webhooks on loopback")?;
        let address = listener
            .local_addr()
            .context("asking for the port of the webhook receiver")?;
        let shared = Arc::new(Mutex::new(Shared {
            rule: Arc::new(rule),
            kept: VecDeque::new(),
            count: 0,
            accepted: 0,
        }));
        let task = tokio::spawn(listen(listener, tls, Arc::clone(&shared)));
        Ok(Self {
            scheme,
            address,
            shared,
            listener: task.abort_handle(),
        })
    }

    /// Answers 200 to everything.
    pub async fn accepting() -> Result<Self> {
        Self::start(|_, _| Answer::status(200)).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT/PATH`, or `https://…`; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// From now on `rule` says what to answer.
    pub fn answer(&self, rule: impl Fn(&Parts, &Bytes) -> Answer + Send + Sync + 'static) {
        self.locked().rule = Arc::new(rule);
    }

    /// Requests that arrived since the start, kept or not.
    pub fn count(&self) -> usize {
        self.locked().count
    }

    /// Those of them that were answered 2xx.
    pub fn accepted(&self) -> usize {
        self.locked().accepted
    }

    /// The requests kept (the last 100,000), oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.locked().kept.iter().cloned().collect()
    }

    /// The same, and forgets them; the counts stay.
    pub fn take(&self) -> Vec<Received> {
        self.locked().kept.drain(..).collect()
    }

    /// Waits until at least `count` requests have arrived.
    pub async fn wait_for(&self, count: usize, bound: Duration) -> Result<()> {
        let what = format!("{count} webhooks to arrive");
        let waited = wait::until(&what, bound, || async { self.count() >= count }).await;
        waited.with_context(|| format!("{} webhooks arrived", self.count()))
    }

    fn locked(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("count", &self.count)
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}

/// Ends with its connections when it is aborted.
async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                let _no_delay = stream.set_nodelay(true);
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &shared).await,
                        Some(tls) => {
                            // One that does not trust the certificate sends nothing.
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &shared).await;
                            }
                        }
                    }
                });
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Mutex<Shared>) {
    let service = service_fn(|request| respond(request, shared));
    // A client that went away is none of the receiver's business.
    let _gone = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    shared: &Mutex<Shared>,
) -> Result<Response<Full<Bytes>>, anyhow::Error> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY)
        .collect()
        .await
        .map_err(anyhow::Error::from_boxed)?
        .to_bytes();
    let arrival = Instant::now();
    let locked = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    // The rule runs without the lock, so that it may itself ask the receiver.
    let rule = Arc::clone(&locked().rule);
    let answer = rule(&parts, &body);
    {
        let mut shared = locked();
        shared.count += 1;
        shared.accepted += usize::from(answer.status.is_success());
        if shared.kept.len() == KEPT {
            shared.kept.pop_front();
        }
        shared.kept.push_back(Received {
            path: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            method: parts.method,
            headers: parts.headers,
            body,
            arrival,
            status: answer.status,
        });
    }
    tokio::time::sleep(answer.delay).await;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}
