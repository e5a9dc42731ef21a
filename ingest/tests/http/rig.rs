//! One ingest node with a log, a store and tenants, and a client of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use laneway_directory::Directory;
use laneway_hosts::Names;
use laneway_ingest::{Ingest, IngestDeps, IngestSettings};
use laneway_log::{Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, Topic, TopicSetup};
use laneway_runtime::http::{ListenConfig, Server};
use laneway_runtime::{Lifecycle, TenantMetrics};
use laneway_schemas::{Codecs, Contract, MemoryRegistry};
use laneway_store::{
    NewKey, NewSecret, NewTenant, ShardConfig, Store, StoreConfig, StoreCredentials,
};
use laneway_tenancy::control::{Limits, RoleAuthority};
use laneway_tenancy::hosts::HostSettings;
use laneway_tenancy::{
    AuthSettings, Authenticator, CredentialId, Grant, Grants, KeyId, LocalSocket, OperatorScope,
    Placement, Random, TenantId, TenantScope, Token, TokenKind,
};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::log::BreakableLog;

/// 2026-11-21T02:07:19Z
pub const NOW: i64 = 1_795_226_839_000_000;
pub const PARTITIONS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestClock(AtomicI64);

impl laneway_runtime::Clock for TestClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl TestClock {
    pub fn advance(&self, us: i64) {
        self.0.fetch_add(us, Ordering::SeqCst);
    }
}

/// Chance that is the same in every run.
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let next = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
                .to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

pub struct Rig {
    pub log: Arc<BreakableLog>,
    pub store: Store,
    pub directory: Arc<Directory>,
    pub clock: Arc<TestClock>,
    pub address: std::net::SocketAddr,
    codecs: Arc<Codecs>,
    authenticator: Arc<Authenticator>,
    random: Arc<dyn Random>,
    lifecycle: Lifecycle,
    _folder: tempfile::TempDir,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Reply {
    /// The last part of the problem's type.
    pub fn kind(&self) -> &str {
        kind_of(&self.json)
    }

    pub fn retry_after(&self) -> Option<u32> {
        self.headers
            .get(header::RETRY_AFTER)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }
}

pub fn kind_of(problem: &Value) -> &str {
    problem["type"]
        .as_str()
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::with(IngestSettings::default()).await
    }

    pub async fn with(settings: IngestSettings) -> Rig {
        Rig::build(settings, 1 << 20).await
    }

    /// On a log that takes no larger records.
    pub async fn with_largest_record(max_record_bytes: usize) -> Rig {
        Rig::build(IngestSettings::default(), max_record_bytes).await
    }

    async fn build(settings: IngestSettings, max_record_bytes: usize) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let log = LogConfig {
            max_record_bytes,
            ..log_config(folder.path())
        };
        let log = laneway_log::open(&log).await.unwrap();
        let log = Arc::new(BreakableLog::new(log));
        let store = Store::open(&StoreConfig {
            url: format!("sqlite:{}", folder.path().join("store.db").display()),
            max_connections: 4,
            acquire_timeout_ms: 10_000,
            secret_key: [7; 32],
            secret_keys_old: Vec::new(),
            slow_query_ms: 0,
            shards: ShardConfig::default(),
        })
        .await
        .unwrap();
        let codecs = Arc::new(Codecs::new(Arc::new(MemoryRegistry::new())));
        codecs.register("").await.unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
        let random: Arc<dyn Random> = Arc::new(Counted(AtomicU64::new(1)));
        let ticking = clock.clone();
        let authenticator = Arc::new(Authenticator::new(
            Arc::new(StoreCredentials(store.clone())),
            AuthSettings {
                failures_per_address: 5,
                ..AuthSettings::new([3; 32])
            },
            Arc::new(move || laneway_runtime::Clock::now_us(&*ticking)),
        ));
        let directory = Arc::new(Directory::with_hosts(HostSettings {
            tenant_domain: "tenants.example".to_owned(),
            development_hosts: vec!["localhost".to_owned(), "t".to_owned()],
            ..HostSettings::default()
        }));
        let ingest = Ingest::build(IngestDeps {
            log: log.clone(),
            codecs: codecs.clone(),
            authenticator: authenticator.clone(),
            store: store.clone(),
            directory: directory.clone(),
            clock: clock.clone(),
            random: random.clone(),
            tenant_metrics: TenantMetrics::new(10),
            settings,
        });
        let lifecycle = Lifecycle::new();
        let server = Server::bind(ListenConfig::plain(([127, 0, 0, 1], 0).into())).unwrap();
        let address = server.local_addr().unwrap();
        server.serve(
            Names::new(directory.clone(), clock.clone(), ingest.clone()),
            &lifecycle,
        );
        lifecycle.spawn("ingest", ingest.run(lifecycle.clone()));
        Rig {
            log,
            store,
            directory,
            clock,
            address,
            codecs,
            authenticator,
            random,
            lifecycle,
            _folder: folder,
        }
    }

    /// Another node with the same log, store and tenants; its address, and what ends it.
    pub async fn another(&self) -> (std::net::SocketAddr, Lifecycle) {
        let ingest = Ingest::build(IngestDeps {
            log: self.log.clone(),
            codecs: self.codecs.clone(),
            authenticator: self.authenticator.clone(),
            store: self.store.clone(),
            directory: self.directory.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            tenant_metrics: TenantMetrics::new(10),
            settings: IngestSettings::default(),
        });
        let lifecycle = Lifecycle::new();
        let server = Server::bind(ListenConfig::plain(([127, 0, 0, 1], 0).into())).unwrap();
        let address = server.local_addr().unwrap();
        server.serve(ingest.clone(), &lifecycle);
        lifecycle.spawn("another", ingest.run(lifecycle.clone()));
        (address, lifecycle)
    }

    /// The same request to another node.
    pub async fn update_at(
        &self,
        address: std::net::SocketAddr,
        authorization: &str,
        body: impl Into<Bytes>,
    ) -> Reply {
        let path = "/location/update";
        self.send_to(address, "POST", authorization, path, &[], body)
            .await
    }

    /// A tenant with its scope; the directory knows of it.
    pub async fn tenant(&self, slug: &str, limits: Limits) -> TenantScope {
        let operator = OperatorScope::local(&LocalSocket::bound_for_operator());
        let id = TenantId::from_u128(self.id());
        let placement = Placement::first(id, 2, PARTITIONS);
        let new = NewTenant {
            limits,
            ..NewTenant::plain(id, slug, placement)
        };
        self.store
            .tenants(&operator)
            .create(new, NOW)
            .await
            .unwrap();
        self.relay().await;
        operator.scope(id)
    }

    /// A device and its token, as an `Authorization` header.
    pub async fn device(&self, tenant: &TenantScope, name: &str) -> String {
        let device = name.parse().unwrap();
        self.store
            .devices(tenant)
            .create(&device, NOW)
            .await
            .unwrap();
        let token = Token::generate(TokenKind::Device, &*self.random);
        let secret = NewSecret::Token(self.authenticator.hasher().hash(token.reveal().as_bytes()));
        let id = CredentialId::from_u128(self.id());
        self.store
            .credentials(tenant)
            .create(id, &device, secret, NOW)
            .await
            .unwrap();
        self.relay().await;
        format!("Bearer {}", token.reveal())
    }

    /// A key, as an `Authorization` header.
    pub async fn key(&self, tenant: &TenantScope, grants: &[Grant]) -> String {
        let token = Token::generate(TokenKind::Key, &*self.random);
        let hash = self.authenticator.hasher().hash(token.reveal().as_bytes());
        let grants = Grants::of(grants.iter().copied());
        self.store
            .keys(tenant)
            .create(
                NewKey {
                    id: KeyId::from_u128(self.id()),
                    name: "test",
                    account: None,
                    role: None,
                    grants,
                    token_hash: hash,
                    expires_at: None,
                },
                NOW,
            )
            .await
            .unwrap();
        self.relay().await;
        format!("Bearer {}", token.reveal())
    }

    /// Control changes reach the directory.
    pub async fn relay(&self) {
        let authority = RoleAuthority::for_role("test");
        let rows = self.store.outbox(&authority).oldest(1000).await.unwrap();
        for row in &rows {
            self.directory.apply(&row.event()).unwrap();
        }
        self.store.outbox(&authority).relayed(&rows).await.unwrap();
    }

    pub fn id(&self) -> u128 {
        laneway_tenancy::new_id(&*self.random, NOW)
    }

    pub async fn post(&self, authorization: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send("POST", authorization, path, &[], body).await
    }

    pub async fn update(&self, authorization: &str, body: impl Into<Bytes>) -> Reply {
        self.post(authorization, "/location/update", body).await
    }

    pub async fn get(&self, authorization: &str, path: &str) -> Reply {
        self.send("GET", authorization, path, &[], Bytes::new())
            .await
    }

    /// One request on a connection of its own. An empty `authorization` sends none.
    pub async fn send(
        &self,
        method: &str,
        authorization: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        self.send_to(self.address, method, authorization, path, headers, body)
            .await
    }

    async fn send_to(
        &self,
        address: std::net::SocketAddr,
        method: &str,
        authorization: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let driven = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header(header::HOST, "localhost");
        }
        if !authorization.is_empty() {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = tokio::time::timeout(PATIENCE, sender.send_request(request))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        driven.abort();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Reply {
            status: head.status,
            headers: head.headers,
            json,
        }
    }

    /// All records of a topic: (partition, key, value).
    pub async fn records<T: Contract>(&self, topic: Topic) -> Vec<(u32, String, T)> {
        let mut left = std::collections::BTreeMap::new();
        for partition in 0..PARTITIONS {
            let bounds = self.log.bounds(topic, partition).await.unwrap();
            if bounds.last_stable > 0 {
                left.insert(partition, bounds.last_stable);
            }
        }
        let mut found = Vec::new();
        if left.is_empty() {
            return found;
        }
        let mut reader = self
            .log
            .reader(topic, left.keys().map(|p| (*p, 0)).collect())
            .await
            .unwrap();
        while !left.is_empty() {
            let batch = tokio::time::timeout(PATIENCE, reader.next())
                .await
                .unwrap()
                .unwrap();
            for record in batch.iter() {
                let key = String::from_utf8(record.key.to_vec()).unwrap();
                found.push((
                    batch.partition(),
                    key,
                    self.codecs.decode(record.value.unwrap()).unwrap(),
                ));
            }
            if left
                .get(&batch.partition())
                .is_some_and(|end| batch.next_offset() >= *end)
            {
                left.remove(&batch.partition());
            }
        }
        found
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.lifecycle.drain();
    }
}

fn log_config(folder: &std::path::Path) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions: PARTITIONS,
        retention_seconds: 100 * 365 * 86_400,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 64 << 20,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path: folder.join("log"),
            min_free_bytes: 0,
            cache_bytes: 8 << 20,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}
