//! Certificates for servers on loopback.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub struct Certificates {
    pub ca_pem: String,
    /// Private key, then the certificate for `127.0.0.1` and `localhost`.
    pub server_pem: String,
}

/// A certificate authority of this process alone, and a server certificate that it signed.
pub fn generate() -> Result<Certificates> {
    let ca_key = KeyPair::generate().context("generating a key for the test authority")?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name
        .push(DnType::CommonName, "Laneway test authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca
        .self_signed(&ca_key)
        .context("signing the certificate of the test authority")?
        .pem();

    let key = KeyPair::generate().context("generating a key for the test server")?;
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let mut server =
        CertificateParams::new(names).context("naming the test server's certificate")?;
    server
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    let signed = server
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .context("signing the test server's certificate")?;
    Ok(Certificates {
        ca_pem,
        server_pem: format!("{}{}", key.serialize_pem(), signed.pem()),
    })
}
