//! TLS in whole processes, with certificates that change while they run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{embedded_only, laneway_binary, wait};
use laneway_tests::deployment::{Deployment, Servers};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

const BOUND: Duration = Duration::from_secs(180);
const FIXES: usize = 20;

/// Where the processes find their certificate.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn in_folder(folder: &Path) -> Self {
        Files {
            certificate: folder.join("served.pem"),
            key: folder.join("served-key.pem"),
        }
    }

    fn settings(&self) -> [(&'static str, String); 2] {
        let path = |path: &Path| path.display().to_string();
        [
            ("LANEWAY_HTTP_TLS_CERT_FILE", path(&self.certificate)),
            ("LANEWAY_HTTP_TLS_KEY_FILE", path(&self.key)),
        ]
    }

    /// A new certificate in the place of the last; it is its own authority, `name` a copy of it.
    fn issue(&self, folder: &Path, name: &str) -> Result<(String, CertificateDer<'static>)> {
        let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let authority = folder.join(name);
        std::fs::write(&authority, issued.cert.pem())?;
        let next = folder.join("next.pem");
        for (text, file) in [
            (issued.signing_key.serialize_pem(), &self.key),
            (issued.cert.pem(), &self.certificate),
        ] {
            std::fs::write(&next, text)?;
            std::fs::rename(&next, file)?;
        }
        Ok((authority.display().to_string(), issued.cert.der().clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_serves_tls_and_takes_up_a_new_certificate() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = Files::in_folder(folder.path());
    let first = files.issue(folder.path(), "first.pem")?;
    let deployment =
        Deployment::embedded_with(&laneway_binary()?, folder.path(), &files.settings()).await?;
    run(deployment, folder.path(), &files, first).await
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_apart_serve_tls_and_take_up_a_new_certificate() -> Result<()> {
    if embedded_only("TLS of roles apart") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let files = Files::in_folder(folder.path());
    let first = files.issue(folder.path(), "first.pem")?;
    let servers = Servers::shared("tls", 4).await?;
    let deployment = Deployment::distributed_with(
        &laneway_binary()?,
        folder.path(),
        &servers,
        &files.settings(),
    )
    .await?;
    run(deployment, folder.path(), &files, first).await
}

async fn run(
    mut deployment: Deployment,
    folder: &Path,
    files: &Files,
    (first_ca, first): (String, CertificateDer<'static>),
) -> Result<()> {
    let ingest = address(deployment.ingest.base())?;
    let stream = address(&deployment.stream)?;
    deployment.admin(&["tenant", "create", "acme"]).await?;
    let device = ["device", "create", "--tenant", "acme", "truck"];
    deployment.admin(&device).await?;
    let scope = "stream:read,location:write";
    let key = ["key", "create", "--tenant", "acme", "--scope", scope];
    let key = deployment.admin(&key).await?;
    let key = key["key"].as_str().context("key")?;

    // One subscription from before the change to after it: HTTPS in, wss out.
    let (ingest_url, stream_url) = (format!("https://{ingest}"), format!("https://{stream}"));
    let count = (2 * FIXES).to_string();
    let kinds = "laneway.position";
    let from_earliest = ["--from", "earliest", "--types", kinds, "--count", &count];
    let tail = [
        "tail",
        "--url",
        &stream_url,
        "--ca",
        &first_ca,
        "--key",
        key,
    ];
    let tail = [&tail[..], &from_earliest].concat();
    let send = async |ca: &str, day: usize| {
        track(folder, day)?;
        let to = ["send", "track.csv", "--url", &ingest_url, "--ca", ca];
        let as_whom = ["--key", key, "--device", "truck"];
        let sent = deployment.command(&[&to[..], &as_whom].concat()).await?;
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        ensure!(
            said.starts_with(&format!("{FIXES} accepted, 0 refused")),
            "{said}{}",
            String::from_utf8_lossy(&sent.stderr)
        );
        anyhow::Ok(())
    };
    let change = async {
        send(&first_ca, 1).await?;
        for listener in [ingest, stream] {
            ensure!(presented(listener, &[&first]).await? == first);
        }
        let (second_ca, second) = files.issue(folder, "second.pem")?;
        for listener in [ingest, stream] {
            wait::until("the new certificate to be served", BOUND, || async {
                let served = presented(listener, &[&first, &second]).await;
                served.is_ok_and(|served| served == second)
            })
            .await?;
            ensure!(
                presented(listener, &[&first]).await.is_err(),
                "the old certificate is served still"
            );
        }
        send(&second_ca, 2).await?;
        anyhow::Ok(second)
    };
    let (printed, second) = tokio::try_join!(deployment.command(&tail), change)?;
    ensure!(printed.status.success(), "{printed:?}");
    let lines = String::from_utf8_lossy(&printed.stdout);
    ensure!(lines.lines().count() == 2 * FIXES, "{lines}");

    std::fs::write(&files.certificate, "broken")?;
    for node in &mut deployment.nodes {
        let role = node.role;
        let process = node.process();
        wait::until("the broken certificate to be noticed", BOUND, || async {
            let said = "the changed TLS certificate is not usable; the old one stays in use";
            process.log().is_ok_and(|log| log.contains(said))
        })
        .await
        .with_context(|| format!("{role} says nothing of its broken certificate"))?;
    }
    for listener in [ingest, stream] {
        ensure!(presented(listener, &[&second]).await? == second);
    }
    deployment.stop().await
}

/// The same way on another day.
fn track(folder: &Path, day: usize) -> Result<()> {
    let fixes: String = (0..FIXES)
        .map(|i| format!("52.{i:02},13.4,2026-01-{day:02}T12:00:{i:02}Z\n"))
        .collect();
    std::fs::write(folder.join("track.csv"), format!("lat,lon,time\n{fixes}"))?;
    Ok(())
}

fn address(url: &str) -> Result<SocketAddr> {
    let (_, rest) = url.split_once("://").context("a URL has a scheme")?;
    Ok(rest.trim_end_matches("/stream").parse()?)
}

/// The certificate that a new connection gets, where it is one of those that are trusted.
async fn presented(
    address: SocketAddr,
    trusted: &[&CertificateDer<'static>],
) -> Result<CertificateDer<'static>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connected = connector.connect(name, stream).await?;
    let served = connected.get_ref().1.peer_certificates();
    let first = served.and_then(<[_]>::first).context("no certificate")?;
    Ok(first.clone().into_owned())
}
