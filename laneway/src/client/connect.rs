//! Connections to the API.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::Uri;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

const CONNECT_BOUND: Duration = Duration::from_secs(10);

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub async fn unix(path: &Path) -> anyhow::Result<Box<dyn Io>> {
    let stream = UnixStream::connect(path).await.with_context(|| {
        format!(
            "connecting to the local socket {}: start `laneway all` or `laneway control` there, or name an address with --url",
            path.display()
        )
    })?;
    Ok(Box::new(stream))
}

pub async fn tcp(uri: &Uri, extra_ca: Option<&Path>) -> anyhow::Result<Box<dyn Io>> {
    let host = uri.host().context("the address has no host")?;
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let connected = tokio::time::timeout(CONNECT_BOUND, async {
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return Ok::<Box<dyn Io>, anyhow::Error>(Box::new(stream));
        }
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls_config(extra_ca)?));
        Ok(Box::new(connector.connect(name, stream).await?))
    });
    connected
        .await
        .map_err(|_| anyhow::anyhow!("no connection within {} s", CONNECT_BOUND.as_secs()))
        .and_then(|connected| connected)
        .with_context(|| format!("connecting to {host}:{port}"))
}

fn tls_config(extra_ca: Option<&Path>) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = extra_ca {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("reading the certificate authorities {}", path.display()))?;
        roots.add_parsable_certificates(certificates);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
