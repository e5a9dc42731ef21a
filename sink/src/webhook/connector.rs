//! Connections of the webhook client: resolve, guard, dial, TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use laneway_runtime::guard::{Guard, GuardError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::settings::WebhookSettings;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("connecting to {host} failed: {reason}")]
    Dial { host: String, reason: io::Error },
    #[error("TLS with {host} failed: {reason}; check its certificate")]
    Tls { host: String, reason: io::Error },
    #[error("{0:?} is no address of a web server; use https://host/path")]
    Address(String),
}

#[derive(Clone)]
pub struct Connector {
    guard: Guard,
    tls: TlsConnector,
    allow_http: bool,
}

impl Connector {
    pub fn new(guard: Guard, settings: &WebhookSettings) -> anyhow::Result<Self> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.into(),
        };
        if !settings.ca_file.is_empty() {
            add_authorities(&mut roots, &settings.ca_file)
                .with_context(|| format!("sink.webhook.ca_file: reading {}", settings.ca_file))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector {
            guard,
            tls: TlsConnector::from(Arc::new(config)),
            allow_http: settings.allow_http,
        })
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let address = || ConnectError::Address(uri.to_string());
        let host = uri.host().ok_or_else(address)?.to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if self.allow_http => false,
            _ => return Err(address()),
        };
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let tcp = dial(&host, self.guard.resolve(&host, port).await?).await?;
        if !tls {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(bare).map_err(|_| address())?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|reason| ConnectError::Tls { host, reason })?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }
}

/// Authorities of a PEM file, beside the public ones.
fn add_authorities(roots: &mut RootCertStore, path: &str) -> anyhow::Result<()> {
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
        found = true;
    }
    anyhow::ensure!(found, "there is no certificate in it");
    Ok(())
}

async fn dial(host: &str, addresses: Vec<std::net::SocketAddr>) -> Result<TcpStream, ConnectError> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // An attempt is one small write that waits for its answer.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a webhook connection keeps Nagle's algorithm");
                }
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(ConnectError::Dial {
        host: host.to_owned(),
        reason: failure,
    })
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Stream, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

pub enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_flush(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(io) => io.is_write_vectored(),
            Stream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        }
    }
}
