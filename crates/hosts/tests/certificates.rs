//! Certificates by the name that a client asks for, as the store has them, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use laneway_directory::Directory;
use laneway_hosts::Certificates;
use laneway_runtime::Lifecycle;
use laneway_runtime::http::{Body, ListenConfig, Peer, Server, Service, TlsConfig, body};
use laneway_schemas::TenantEvent;
use laneway_store::{HostProof, NewCertificate, NewTenant, ShardConfig, Store, StoreConfig};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{HostPattern, LocalSocket, OperatorScope, Placement, TenantId, TenantScope};
use laneway_testkit::wait::until;
use laneway_testkit::{Database, EmptyDatabase};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;

laneway_testkit::on_both_databases!(each_host_shows_its_own_certificate_and_takes_up_a_new_one,);

const BOUND: Duration = Duration::from_secs(20);
const NOW: i64 = 1_795_226_839_000_000;

struct Nothing;

impl Service for Nothing {
    fn call(&self, _: Request<Incoming>, _: Peer) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async { body::with_type(StatusCode::OK, "text/plain", "") })
    }
}

struct Rig {
    store: Store,
    directory: Arc<Directory>,
    scope: TenantScope,
    address: SocketAddr,
    lifecycle: Lifecycle,
    listeners_own: CertificateDer<'static>,
    _empty: EmptyDatabase,
    _folder: tempfile::TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.lifecycle.drain();
    }
}

async fn rig(database: Database) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let empty = database.empty().await.unwrap();
    let store = Store::open(&StoreConfig {
        url: empty.url.clone(),
        max_connections: 4,
        acquire_timeout_ms: 10_000,
        secret_key: [3; 32],
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
        shards: ShardConfig::default(),
    })
    .await
    .unwrap();
    let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
    let id = TenantId::from_u128(1);
    let new = NewTenant::plain(id, "acme", Placement::first(id, 1, 4));
    store.tenants(&operator).create(new, NOW).await.unwrap();

    let files = TlsConfig {
        cert_file: folder.path().join("cert.pem"),
        key_file: folder.path().join("key.pem"),
    };
    let own = issue("localhost");
    std::fs::write(&files.cert_file, own.cert.pem()).unwrap();
    std::fs::write(&files.key_file, own.signing_key.serialize_pem()).unwrap();
    let lifecycle = Lifecycle::new();
    let directory = Arc::new(Directory::new());
    let certificates = Arc::new(Certificates::default());
    let server = Server::bind(ListenConfig {
        tls: Some(files),
        host_certificates: Some(certificates.clone()),
        ..ListenConfig::plain(([127, 0, 0, 1], 0).into())
    })
    .unwrap();
    let address = server.local_addr().unwrap();
    server.serve(Arc::new(Nothing), &lifecycle);
    let authority = RoleAuthority::for_role("test");
    let follow = certificates.follow(
        store.clone(),
        directory.clone(),
        authority,
        lifecycle.clone(),
    );
    lifecycle.spawn("certificates", follow);
    Rig {
        store,
        directory,
        scope: operator.scope(id),
        address,
        lifecycle,
        listeners_own: own.cert.der().clone(),
        _empty: empty,
        _folder: folder,
    }
}

fn issue(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

impl Rig {
    /// Gives a host a certificate of its own.
    async fn give(&self, host: &str, name: &str) -> CertificateDer<'static> {
        let issued = issue(name);
        let host: HostPattern = host.parse().unwrap();
        let certificate = NewCertificate {
            chain: &issued.cert.pem(),
            key: &issued.signing_key.serialize_pem(),
            expires_at: NOW,
        };
        let hosts = self.store.hosts(&self.scope);
        hosts
            .set_certificate(&host, certificate, NOW)
            .await
            .unwrap();
        self.relay().await;
        issued.cert.der().clone()
    }

    async fn make_live(&self, host: &str) {
        let host: HostPattern = host.parse().unwrap();
        let hosts = self.store.hosts(&self.scope);
        hosts.register(&host, "t", 10, NOW).await.unwrap();
        let proof = HostProof {
            at: NOW,
            next: NOW,
            outcome: Ok(()),
            stops: false,
        };
        hosts.note(&host, proof).await.unwrap();
    }

    async fn relay(&self) {
        let authority = RoleAuthority::for_role("test");
        let rows = self.store.outbox(&authority).oldest(1000).await.unwrap();
        for row in &rows {
            self.directory.apply(&row.event()).unwrap();
        }
        self.store.outbox(&authority).relayed(&rows).await.unwrap();
    }

    async fn shows(&self, name: &str, expected: &CertificateDer<'static>) {
        until("the certificate to be shown", BOUND, || async {
            shown(self.address, name, expected).await
        })
        .await
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// Whether a client that trusts this certificate alone, and checks the name, gets on.
async fn shown(address: SocketAddr, name: &str, trusted: &CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = name.to_owned().try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.is_ok()
}

async fn each_host_shows_its_own_certificate_and_takes_up_a_new_one(database: Database) {
    let rig = rig(database).await;
    let (one, many) = ("one.acme.example", "*.many.acme.example");
    for host in [one, many] {
        rig.make_live(host).await;
    }
    let first = rig.give(one, one).await;
    let wild = rig.give(many, many).await;
    // What was there before the directory had caught up is read at once.
    rig.directory.set_caught_up();
    rig.shows("one.acme.example", &first).await;
    rig.shows("a.many.acme.example", &wild).await;
    rig.shows("B.Many.acme.example", &wild).await;
    rig.shows("localhost", &rig.listeners_own).await;
    // A wildcard stands for one label.
    assert!(!shown(rig.address, "a.b.many.acme.example", &wild).await);

    let second = rig.give(one, one).await;
    rig.shows("one.acme.example", &second).await;
    assert!(!shown(rig.address, "one.acme.example", &first).await);
    rig.shows("a.many.acme.example", &wild).await;

    let host = one.parse().unwrap();
    let hosts = rig.store.hosts(&rig.scope);
    hosts.delete(&host, NOW).await.unwrap();
    rig.relay().await;
    until("the certificate to be gone", BOUND, || async {
        !shown(rig.address, "one.acme.example", &second).await
    })
    .await
    .unwrap();

    // News that cannot be read for want of the store leaves what is there.
    rig.store.close().await;
    let change = TenantEvent {
        tenant_id: rig.scope.tenant().to_string(),
        version: 1_000,
        kind: laneway_schemas::ControlKind::Host,
        id: many.to_owned(),
        deleted: false,
        effective_from: 0,
        body: r#"{"state":"live","certificate":true}"#.to_owned(),
    };
    rig.directory.apply(&change).unwrap();
    rig.shows("a.many.acme.example", &wild).await;
}
