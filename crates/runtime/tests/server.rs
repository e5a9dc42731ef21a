//! The listener against raw sockets: what a proxy, a slow client and a drain see of it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use laneway_runtime::Lifecycle;
use laneway_runtime::http::{Body, ListenConfig, Peer, Server, Service, TlsConfig, body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

const BOUND: Duration = Duration::from_secs(20);

/// Answers who asked. `/slow` waits until it is let go.
#[derive(Default)]
struct Echo {
    entered: Notify,
    release: Notify,
}

impl Service for Echo {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            if request.uri().path() == "/slow" {
                self.entered.notify_one();
                self.release.notified().await;
            }
            let address = peer.address.map_or("local".to_owned(), |a| a.to_string());
            body::with_type(
                StatusCode::OK,
                "text/plain",
                format!("{address} {}", peer.local_operator),
            )
        })
    }
}

fn config() -> ListenConfig {
    ListenConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn start(config: ListenConfig) -> (SocketAddr, Arc<Echo>, Lifecycle) {
    let lifecycle = Lifecycle::new();
    let service = Arc::new(Echo::default());
    let server = Server::bind(config).unwrap();
    let address = server.local_addr().unwrap();
    server.serve(service.clone(), &lifecycle);
    (address, service, lifecycle)
}

/// Everything until the other end closes, within the bound.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset also ends it.
    let _ = tokio::time::timeout(BOUND, stream.read_to_end(&mut bytes))
        .await
        .expect("was not closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

const CLOSE: &[u8] =
    b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n";

/// A connection whose request is answered when the service lets it go.
async fn slow(address: SocketAddr, service: &Echo) -> TcpStream {
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    service.entered.notified().await;
    slow
}

#[tokio::test]
async fn only_a_trusted_proxy_may_say_who_the_client_is() {
    for (trusted, expected) in [
        (vec![], "127.0.0.1 false"),
        (vec!["127.0.0.0/8".parse().unwrap()], "203.0.113.9 false"),
    ] {
        let (address, _, _) = start(ListenConfig {
            trusted_proxies: trusted,
            ..config()
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(CLOSE).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off_and_an_idle_connection_closed() {
    let short = ListenConfig {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(600),
        ..config()
    };
    let (address, _, _) = start(short);
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(rest(&mut slow).await, "");
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut idle).await.ends_with("127.0.0.1 false"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_the_rest() {
    let (address, service, lifecycle) = start(config());
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut slow = slow(address, &service).await;
    lifecycle.drain();
    assert!(rest(&mut idle).await.ends_with("127.0.0.1 false"));
    service.release.notify_one();
    let answer = rest(&mut slow).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1 false"),
        "{answer}"
    );
    tokio::time::timeout(BOUND, lifecycle.run(BOUND))
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_in_flight_longer_than_the_drain_may_take_is_broken_off() {
    let (address, service, lifecycle) = start(config());
    let mut slow = slow(address, &service).await;
    lifecycle.drain();
    lifecycle.run(Duration::from_millis(100)).await.unwrap();
    assert_eq!(rest(&mut slow).await, "");
}

#[tokio::test]
async fn connections_over_the_bound_wait_for_a_place() {
    let (address, service, _) = start(ListenConfig {
        max_connections: 1,
        ..config()
    });
    let mut first = TcpStream::connect(address).await.unwrap();
    first
        .write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    service.entered.notified().await;
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(CLOSE).await.unwrap();
    let unanswered = tokio::time::timeout(Duration::from_millis(200), second.read_u8()).await;
    assert!(unanswered.is_err());
    service.release.notify_one();
    assert!(rest(&mut first).await.starts_with("HTTP/1.1 200"));
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_local_socket_is_the_operators_alone_and_replaces_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("laneway.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let lifecycle = Lifecycle::new();
    Server::bind_unix(&path)
        .unwrap()
        .serve(Arc::new(Echo::default()), &lifecycle);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        Server::bind_unix(&path).is_err(),
        "a socket that answers was taken over"
    );
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(CLOSE).await.unwrap();
    assert!(rest(&mut stream).await.ends_with("local true"));
}

fn certificate(folder: &Path) -> (TlsConfig, Vec<u8>) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsConfig {
        cert_file: folder.join("cert.pem"),
        key_file: folder.join("key.pem"),
    };
    std::fs::write(&files.key_file, issued.signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.cert_file, issued.cert.pem()).unwrap();
    (files, issued.cert.der().to_vec())
}

/// Connects trusting `root` alone, and asks.
async fn ask(address: SocketAddr, root: &[u8]) -> anyhow::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.to_vec().into())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("localhost".try_into()?, stream).await?;
    stream.write_all(CLOSE).await?;
    Ok(rest(&mut stream).await)
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (files, first) = certificate(folder.path());
    let (address, _, _) = start(ListenConfig {
        tls: Some(files),
        ..config()
    });
    assert!(
        ask(address, &first)
            .await
            .unwrap()
            .ends_with("127.0.0.1 false")
    );

    let (_, second) = certificate(folder.path());
    let taken_up = async {
        while ask(address, &second).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BOUND, taken_up)
        .await
        .expect("the new certificate was not taken up");
}
