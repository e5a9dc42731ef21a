//! A control node with its store, an embedded log, a TCP port and a local socket.

// The file is also a module of another test program, under its path.
#[path = "support/http.rs"]
mod http;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use laneway_control::{Control, ControlDeps, ControlSettings};
use laneway_directory::{Directory, TenantEntry};
use laneway_hosts::Names;
use laneway_log::{Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, TopicSetup};
use laneway_notices::{Announcer, AnnouncerDeps};
use laneway_runtime::http::{ListenConfig, Server};
use laneway_runtime::{Clock, Lifecycle, SystemClock, TenantMetrics};
use laneway_schemas::Codecs;
use laneway_store::{
    PositionRow, ProjectionBatch, ShardConfig, ShardRule, Store, StoreConfig, StoreCredentials,
};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::hosts::HostSettings;
use laneway_tenancy::{AuthSettings, Authenticator, LocalSocket, SystemRandom, TenantId};
use laneway_testkit::wait::until;
use laneway_testkit::{Database, EmptyDatabase};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

pub use http::Answer;
use http::{exchange, exchanged, unchunked};

pub struct Rig {
    pub store: Store,
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub authenticator: Arc<Authenticator>,
    address: SocketAddr,
    socket: PathBuf,
    lifecycle: Lifecycle,
    _empty: EmptyDatabase,
    _kept: Option<[EmptyDatabase; 3]>,
    _folder: tempfile::TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.lifecycle.drain();
    }
}

pub async fn rig(database: Database) -> Rig {
    rig_with(database, |_| {}).await
}

pub async fn rig_with(database: Database, change: impl FnOnce(&mut ControlSettings)) -> Rig {
    let mut settings = ControlSettings::default();
    change(&mut settings);
    rig_named(database, settings, HostSettings::default()).await
}

/// One whose tenants have hosts below `tenants.example`.
pub async fn rig_below_a_domain(database: Database) -> Rig {
    let hosts = HostSettings {
        tenant_domain: "tenants.example".to_owned(),
        development_hosts: vec!["localhost".to_owned()],
        ..HostSettings::default()
    };
    rig_named(database, ControlSettings::default(), hosts).await
}

/// One without authentication.
pub async fn rig_unguarded(database: Database) -> Rig {
    let hosts = HostSettings::default().known_only([127, 0, 0, 1].into());
    let everybodys = hosts.default_namespace.clone();
    let mut made = Made {
        hosts,
        ..Made::default()
    };
    made.auth.anyone_in = Some(everybodys);
    rig_of(database, made).await
}

/// One with databases beside its own.
pub async fn rig_with_shards(database: Database, shards: ShardConfig) -> Rig {
    let made = Made {
        shards,
        ..Made::default()
    };
    rig_of(database, made).await
}

pub async fn rig_named(database: Database, settings: ControlSettings, hosts: HostSettings) -> Rig {
    let made = Made {
        settings,
        hosts,
        ..Made::default()
    };
    rig_of(database, made).await
}

/// What a rig is made of.
struct Made {
    settings: ControlSettings,
    hosts: HostSettings,
    auth: AuthSettings,
    shards: ShardConfig,
}

impl Default for Made {
    fn default() -> Self {
        Made {
            settings: ControlSettings::default(),
            hosts: HostSettings::default(),
            auth: AuthSettings {
                failures_per_address: 10_000,
                ..AuthSettings::new([5; 32])
            },
            shards: ShardConfig::default(),
        }
    }
}

async fn rig_of(database: Database, made: Made) -> Rig {
    let Made {
        settings,
        hosts,
        auth,
        shards,
    } = made;
    let folder = tempfile::tempdir().unwrap();
    let empty = database.empty().await.unwrap();
    // On SQLite tenants are in one database or another, and no test tells a difference.
    let (shards, kept) = match database {
        Database::Sqlite if shards.urls.is_empty() => {
            let (urls, kept) = database.named(["one", "two", "three"]).await.unwrap();
            let rule = ShardRule::Spread;
            (
                ShardConfig {
                    urls,
                    rule,
                    ..shards
                },
                Some(kept),
            )
        }
        _ => (shards, None),
    };
    let config = StoreConfig {
        url: empty.url.clone(),
        max_connections: 4,
        acquire_timeout_ms: 10_000,
        secret_key: [3; 32],
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
        shards,
    };
    let store = Store::open(&config).await.unwrap();
    let log = laneway_log::open(&log_config(folder.path().join("log")))
        .await
        .unwrap();
    let codecs = Arc::new(Codecs::new(Arc::new(store.schemas())));
    codecs.register("").await.unwrap();
    let clock = Arc::new(SystemClock);
    let authenticator = Arc::new(Authenticator::new(
        Arc::new(StoreCredentials(store.clone())),
        auth,
        Arc::new(move || clock.now_us()),
    ));
    let directory = Arc::new(Directory::with_hosts(hosts));
    let lifecycle = Lifecycle::new();
    let follow = laneway_directory::follow(
        directory.clone(),
        log.clone(),
        codecs.clone(),
        lifecycle.clone(),
    );
    lifecycle.spawn("directory", follow);
    let announcer = Announcer::new(AnnouncerDeps {
        log: log.clone(),
        codecs: codecs.clone(),
        directory: directory.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        authority: RoleAuthority::for_role("control"),
        role: "control",
    });
    lifecycle.spawn("notices", {
        let (announcer, lifecycle) = (announcer.clone(), lifecycle.clone());
        async move { Ok(announcer.run(lifecycle).await?) }
    });
    let control = Control::build(ControlDeps {
        store: store.clone(),
        authenticator: authenticator.clone(),
        log: log.clone(),
        codecs: codecs.clone(),
        directory: directory.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        authority: RoleAuthority::for_role("control"),
        local_socket: Some(LocalSocket::bound_for_operator()),
        backup: None,
        tenant_metrics: TenantMetrics::new(50),
        announcer,
        settings,
    });
    lifecycle.spawn("control", control.clone().run(lifecycle.clone()));
    let server = Server::bind(ListenConfig::plain(([127, 0, 0, 1], 0).into())).unwrap();
    let address = server.local_addr().unwrap();
    server.serve(
        Names::new(directory.clone(), Arc::new(SystemClock), control.clone()),
        &lifecycle,
    );
    let socket = folder.path().join("operator.sock");
    Server::bind_unix(&socket)
        .unwrap()
        .serve(control, &lifecycle);
    let rig = Rig {
        store,
        log,
        codecs,
        directory,
        authenticator,
        address,
        socket,
        lifecycle,
        _empty: empty,
        _kept: kept,
        _folder: folder,
    };
    until(
        "the platform's own tenants",
        Duration::from_secs(20),
        || async {
            // Made last.
            let path = "/tenants/runtime";
            rig.operate("GET", path, &Value::Null).await.status == 200
        },
    )
    .await
    .unwrap();
    rig
}

/// Beside the shared one.
pub const TOPIC_SET: &str = "bank";
/// Of each.
pub const PARTITIONS: u32 = 8;

fn log_config(path: PathBuf) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: vec![TOPIC_SET.to_owned()],
        partitions: PARTITIONS,
        retention_seconds: 3600,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 1 << 24,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path,
            min_free_bytes: 0,
            cache_bytes: 1 << 22,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}

impl Rig {
    /// The projection writes a position, as what its first partition has at this offset.
    pub async fn projected(&self, tenant: TenantId, device: &str, offset: u64) {
        let row = PositionRow {
            tenant,
            device: device.parse().unwrap(),
            recorded_at: 1,
            received_at: 1,
            fix_id: "f1".to_owned(),
            revision: 1,
            body: json!({"lat": 52.5}).to_string(),
        };
        let batch = ProjectionBatch {
            generation: 1,
            partition: 0,
            from_offset: offset,
            to_offset: offset + 1,
            positions: vec![row],
            ..ProjectionBatch::default()
        };
        let authority = RoleAuthority::for_role("sink");
        self.store.project(&authority, batch).await.unwrap();
    }

    /// A request over TCP, with `authorization` where it is not empty.
    pub async fn ask(&self, method: &str, path: &str, authorization: &str, body: &Value) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(stream, method, path, authorization, "", body).await
    }

    /// A request over TCP with further header lines.
    pub async fn ask_with(
        &self,
        method: &str,
        path: &str,
        authorization: &str,
        headers: &str,
        body: &Value,
    ) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(stream, method, path, authorization, headers, body).await
    }

    /// The same to a host.
    pub async fn ask_host(
        &self,
        host: &str,
        (method, path): (&str, &str),
        authorization: &str,
        body: &Value,
    ) -> Answer {
        let host = format!("host: {host}\r\n");
        self.ask_with(method, path, authorization, &host, body)
            .await
    }

    /// A request over the operator's local socket.
    pub async fn operate(&self, method: &str, path: &str, body: &Value) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        exchange(stream, method, path, "", "", body).await
    }

    /// The text of an answer whose body is sent in chunks.
    pub async fn ask_text(&self, method: &str, path: &str, authorization: &str) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let raw = exchanged(stream, method, path, authorization, "", &Value::Null).await;
        unchunked(&raw)
    }

    pub async fn operate_text(&self, method: &str, path: &str) -> String {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let raw = exchanged(stream, method, path, "", "", &Value::Null).await;
        unchunked(&raw)
    }

    pub async fn operator_key(&self) -> String {
        let made = self
            .operate("POST", "/operator/keys", &json!({"name": "test"}))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        bearer(&made.body["key"])
    }

    /// A tenant, and its owner's key.
    pub async fn owned(&self, body: Value) -> String {
        let made = self.operate("POST", "/tenants", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        bearer(&made.body["owner"]["key"])
    }

    pub async fn acme(&self) -> String {
        self.owned(json!({"slug": "acme", "owner": "Ada"})).await
    }

    /// A tenant below another, made with that one's key, and its owner's key.
    pub async fn below(&self, parent: &str, key: &str, slug: &str) -> String {
        let path = format!("/tenants/{parent}/tenants");
        let body = json!({"slug": slug, "owner": "Bob"});
        let made = self.ask("POST", &path, key, &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        bearer(&made.body["owner"]["key"])
    }

    /// The status and the body that a path answers.
    pub async fn get(&self, path: &str, key: &str) -> (u16, Value) {
        let answer = self.ask("GET", path, key, &Value::Null).await;
        (answer.status, answer.body)
    }

    /// A tenant, and a key of it with these grants.
    pub async fn tenant(&self, slug: &str, grants: &[&str]) -> String {
        let made = self
            .operate("POST", "/tenants", &json!({"slug": slug}))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        self.key(slug, grants).await
    }

    /// The tenant once what every role knows of it is so.
    pub async fn heard(&self, slug: &str, so: impl Fn(&TenantEntry) -> bool) -> Arc<TenantEntry> {
        let find = || {
            let mut tenants = self.directory.tenants().into_iter();
            tenants.find(|t| t.body.slug == slug && so(t))
        };
        until("news of a tenant", Duration::from_secs(20), || async {
            find().is_some()
        })
        .await
        .unwrap();
        find().unwrap()
    }

    pub async fn directory_id(&self, slug: &str) -> String {
        self.heard(slug, |_| true).await.id.to_string()
    }

    /// Keys of a tenant's control changes that are not marked as gone.
    pub async fn keys_left(&self, tenant: &str) -> Vec<String> {
        let topic = laneway_log::Topic::TenantEvents;
        let bounds = self.log.bounds(topic, 0).await.unwrap();
        let mut reader = self
            .log
            .reader(topic, vec![(0, bounds.earliest)])
            .await
            .unwrap();
        let mut left = std::collections::BTreeSet::new();
        let mut at = bounds.earliest;
        while at < bounds.last_stable {
            let batch = reader.next().await.unwrap();
            at = batch.next_offset();
            for record in batch.iter() {
                let key = String::from_utf8(record.key.to_vec()).unwrap();
                if !key.starts_with(tenant) {
                    continue;
                }
                if record.value.is_some() {
                    left.insert(key);
                } else {
                    left.remove(&key);
                }
            }
        }
        left.into_iter().collect()
    }

    /// Waits until a path answers so.
    pub async fn until_status(&self, path: &str, key: &str, status: u16) {
        until("an answer", Duration::from_secs(20), || async {
            self.ask("GET", path, key, &Value::Null).await.status == status
        })
        .await
        .unwrap();
    }

    pub async fn key(&self, slug: &str, grants: &[&str]) -> String {
        let path = format!("/tenants/{slug}/keys");
        let made = self
            .operate("POST", &path, &json!({"name": "test", "grants": grants}))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        bearer(&made.body["key"])
    }
}

impl Rig {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whoever has these credentials, as ingest would know them.
    pub async fn who(
        &self,
        authorization: &str,
    ) -> Result<laneway_tenancy::Authenticated, laneway_tenancy::AuthError> {
        self.authenticator
            .authenticate(Some(authorization.as_bytes()), None)
            .await
    }
}

pub fn bearer(token: &Value) -> String {
    format!("Bearer {}", token.as_str().unwrap())
}
