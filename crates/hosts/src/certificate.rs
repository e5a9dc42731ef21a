//! Whether a certificate can be shown for a host.

mod validity;

use std::sync::Arc;

use laneway_tenancy::HostPattern;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// Certificates of a chain, and characters of its PEM form.
const MAX_CHAIN: usize = 10;
pub const MAX_PEM: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the chain cannot be read as PEM: {0}; send the certificate, then its intermediates")]
    Chain(String),
    #[error("the chain has no certificate; send it in PEM form, then its intermediates")]
    Empty,
    #[error("the chain is too long: at most {MAX_CHAIN} certificates, {MAX_PEM} characters")]
    TooLong,
    #[error("the key cannot be read: send it in PEM form, not encrypted")]
    Key,
    #[error("the key does not belong to the certificate")]
    OtherKey,
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    #[error("the certificate does not cover {0}; have it issued for that name")]
    OtherHost(String),
    #[error("the certificate is valid no more; have it renewed")]
    Expired,
    #[error("the certificate is not valid yet")]
    TooEarly,
}

/// A certificate that was checked for its host.
#[derive(Debug, Clone)]
pub struct Checked {
    pub key: Arc<CertifiedKey>,
    /// In microseconds.
    pub expires_at: i64,
}

/// Checks that the chain's first certificate covers the host, is valid now, and has this key.
/// Whom it was issued by is not looked at: clients do that.
pub fn check(
    host: &HostPattern,
    chain: &str,
    key: &str,
    now_us: i64,
) -> Result<Checked, CertificateError> {
    let key = open(chain, key)?;
    let first = key.cert.first().ok_or(CertificateError::Empty)?;
    let unreadable = |reason: &str| CertificateError::Unreadable(reason.to_owned());
    let parsed = webpki::EndEntityCert::try_from(first).map_err(|e| unreadable(&e.to_string()))?;
    // Of a wildcard, any name that it stands for.
    let name = if host.is_wildcard() {
        format!("any-name.{}", host.base())
    } else {
        host.base().to_owned()
    };
    ServerName::try_from(name.as_str())
        .ok()
        .and_then(|name| parsed.verify_is_valid_for_subject_name(&name).ok())
        .ok_or_else(|| CertificateError::OtherHost(host.to_string()))?;
    let validity =
        validity::of(first).ok_or_else(|| unreadable("its dates are not where they should be"))?;
    if now_us >= validity.not_after_us {
        return Err(CertificateError::Expired);
    }
    if now_us < validity.not_before_us {
        return Err(CertificateError::TooEarly);
    }
    Ok(Checked {
        expires_at: validity.not_after_us,
        key: Arc::new(key),
    })
}

/// What was checked before, ready to be shown.
pub fn open(chain: &str, key: &str) -> Result<CertifiedKey, CertificateError> {
    if chain.len() > MAX_PEM || key.len() > MAX_PEM {
        return Err(CertificateError::TooLong);
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| CertificateError::Chain(e.to_string()))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    if chain.len() > MAX_CHAIN {
        return Err(CertificateError::TooLong);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateError::Key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertificateError::OtherKey,
        rustls::Error::InvalidCertificate(reason) => {
            CertificateError::Unreadable(format!("{reason:?}"))
        }
        _ => CertificateError::Key,
    })
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(test)]
mod tests;
