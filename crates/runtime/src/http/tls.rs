//! The server's certificate: read from files, and read again when they change; and certificates of
//! hosts that have their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::Lifecycle;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM: the certificate, then its intermediates.
    pub cert_file: PathBuf,
    /// PEM: the private key.
    pub key_file: PathBuf,
}

/// Certificates of hosts that have one of their own, by the name that a client asks for.
pub trait HostCertificates: std::fmt::Debug + Send + Sync {
    fn of(&self, host: &str) -> Option<Arc<CertifiedKey>>;
}

/// A certificate that follows its files, shown where the host has none of its own.
#[derive(Debug)]
pub struct Certificate {
    files: TlsConfig,
    hosts: Option<Arc<dyn HostCertificates>>,
    current: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

/// What the files looked like: enough to see that they changed.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    pub fn open(
        files: TlsConfig,
        hosts: Option<Arc<dyn HostCertificates>>,
    ) -> anyhow::Result<Arc<Self>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = ArcSwap::from_pointee(load(&files, &provider)?);
        Ok(Arc::new(Certificate {
            files,
            hosts,
            current,
            provider,
        }))
    }

    /// For a listener that shows this certificate and speaks HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> anyhow::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .context("setting up TLS: the cryptography provider has no usable protocol version")?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Takes up new files until the drain. Broken ones are logged once, and what was there
    /// before stays in use.
    pub async fn follow(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let mut seen = self.stamp();
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look(&mut seen);
        }
    }

    fn look(&self, seen: &mut Stamp) {
        let stamp = self.stamp();
        if stamp == *seen {
            return;
        }
        *seen = stamp;
        match load(&self.files, &self.provider) {
            Ok(certificate) => {
                self.current.store(Arc::new(certificate));
                tracing::info!(file = %self.files.cert_file.display(), "using the new TLS certificate");
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the changed TLS certificate is not usable; the old one stays in use"
            ),
        }
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [of(&self.files.cert_file), of(&self.files.key_file)]
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let hosts = self.hosts.as_deref();
        let own = hosts.and_then(|hosts| hosts.of(hello.server_name()?));
        own.or_else(|| Some(self.current.load_full()))
    }
}

fn load(files: &TlsConfig, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let certificates = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading the TLS certificate {}", files.cert_file.display()))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "the TLS certificate {} holds no CERTIFICATE section: give it in PEM form",
        files.cert_file.display()
    );
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .with_context(|| format!("reading the TLS key {}", files.key_file.display()))?;
    CertifiedKey::from_der(certificates, key, provider).with_context(|| {
        format!(
            "the TLS key {} cannot be used with the certificate {}",
            files.key_file.display(),
            files.cert_file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &TlsConfig) {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&files.key_file, issued.signing_key.serialize_pem()).unwrap();
        std::fs::write(&files.cert_file, issued.cert.pem()).unwrap();
    }

    #[test]
    fn a_broken_certificate_leaves_the_old_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsConfig {
            cert_file: folder.path().join("cert.pem"),
            key_file: folder.path().join("key.pem"),
        };
        assert!(
            Certificate::open(files.clone(), None).is_err(),
            "there are no files yet"
        );
        write(&files);
        let certificate = Certificate::open(files.clone(), None).unwrap();
        let first = certificate.current.load_full().cert.clone();
        let mut seen = certificate.stamp();

        std::fs::write(&files.cert_file, "broken").unwrap();
        certificate.look(&mut seen);
        assert_eq!(certificate.current.load().cert, first);

        write(&files);
        certificate.look(&mut seen);
        assert_ne!(certificate.current.load().cert, first);
    }
}
