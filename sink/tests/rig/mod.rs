//! A sink with all it needs, in a folder of its own.

pub mod client;
pub mod held;
pub mod metering;
pub mod receivers;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use laneway_directory::Directory;
use laneway_hosts::Names;
use laneway_log::{
    Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, Records, Topic, TopicSetup,
};
use laneway_notices::{Announcer, AnnouncerDeps};
use laneway_runtime::http::{ListenConfig, Server};
use laneway_runtime::tenants::TenantMetrics;
use laneway_runtime::{Lifecycle, SystemClock};
use laneway_schemas::{Codecs, ControlKind, EventType, MemoryRegistry, Position, TenantEvent};
use laneway_sink::{Sink, SinkDeps, SinkSettings};
use laneway_store::{ShardConfig, Store, StoreConfig};
use laneway_tenancy::control::{
    DestinationBody, DestinationState, GrantBody, RoleAuthority, TenantBody,
};
use laneway_tenancy::{
    AuthSettings, Authenticator, CredentialSource, DestinationId, Grant, GrantId, Grants, KeyId,
    Placement, SourceError, StoredCredential, StoredPrincipal, SystemRandom, TenantId, TenantInfo,
    TenantScope, Token, TokenHasher, TokenKind, Validity,
};
use sqlx::{Connection, SqliteConnection};

pub const TOKEN_KEY: &str = "an unguessable key of more than 32 bytes";
pub const BOUND: Duration = Duration::from_secs(60);
const HASH_KEY: [u8; 32] = [7; 32];

#[derive(Default)]
struct Keys(Mutex<HashMap<[u8; 32], StoredCredential>>);

impl CredentialSource for Keys {
    fn by_token(
        &self,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<StoredCredential>, SourceError>> {
        let found = self.0.lock().unwrap().get(&hash).cloned();
        Box::pin(async move { Ok(found) })
    }
}

pub struct Rig {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub metrics: Arc<TenantMetrics>,
    pub lifecycle: Lifecycle,
    keys: Arc<Keys>,
    folder: tempfile::TempDir,
}

#[derive(Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub placement: Placement,
    /// A key that may read the stream.
    pub key: String,
    pub scope: TenantScope,
}

impl Rig {
    pub async fn new(partitions: u32) -> Rig {
        let output = tracing_subscriber::fmt().with_test_writer();
        // One for all tests of the process.
        let _ = output
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let log = laneway_log::open(&config(partitions, folder.path()))
            .await
            .unwrap();
        let codecs = Arc::new(Codecs::new(Arc::new(MemoryRegistry::default())));
        codecs.register("").await.unwrap();
        let directory = Arc::new(Directory::new());
        let lifecycle = Lifecycle::new();
        let follow = laneway_directory::follow(
            Arc::clone(&directory),
            Arc::clone(&log),
            Arc::clone(&codecs),
            lifecycle.clone(),
        );
        lifecycle.spawn("directory", follow);
        directory.caught_up().await;
        Rig {
            log,
            codecs,
            directory,
            metrics: TenantMetrics::new(10),
            lifecycle,
            keys: Arc::default(),
            folder,
        }
    }

    fn database_url(&self, name: &str) -> String {
        let file = self.folder.path().join(format!("{name}.db"));
        format!("sqlite:{}", file.display())
    }

    /// A connection to the store's database or to the shard `eu`, behind the sinks' backs.
    pub async fn database(&self, name: &str) -> SqliteConnection {
        let url = self.database_url(name);
        SqliteConnection::connect(&url).await.unwrap()
    }

    /// A store with the shard `eu`.
    pub async fn store(&self) -> Store {
        let urls = [("eu".to_owned(), self.database_url("eu"))];
        let config = StoreConfig {
            url: self.database_url("store"),
            max_connections: 4,
            acquire_timeout_ms: 5000,
            secret_key: [9; 32],
            secret_keys_old: Vec::new(),
            slow_query_ms: 0,
            shards: ShardConfig {
                urls: urls.into(),
                ..ShardConfig::default()
            },
        };
        Store::open(&config).await.unwrap()
    }

    /// A tenant with a key, in the directory.
    pub async fn tenant(&self, number: u128, lanes: u32) -> Tenant {
        self.tenant_with(number, lanes, |_| {}).await
    }

    /// One with these limits and options.
    pub async fn tenant_with(
        &self,
        number: u128,
        lanes: u32,
        change: impl FnOnce(&mut TenantBody),
    ) -> Tenant {
        let id = TenantId::from_u128(number);
        let placement = Placement::first(id, lanes, self.log.partitions(Topic::TenantStreams));
        let mut body = TenantBody::plain(format!("tenant-{number}"), placement.clone());
        change(&mut body);
        self.tell_tenant(id, &body).await;
        let token = Token::generate(TokenKind::Key, &SystemRandom);
        let hash = TokenHasher::new(&HASH_KEY).hash(token.reveal().as_bytes());
        let credential = StoredCredential {
            tenant: TenantInfo {
                id,
                slug: body.slug.clone(),
                body,
            },
            control_version: 1,
            principal: StoredPrincipal::Key {
                id: KeyId::from_u128(number),
                grants: Grants::of([Grant::StreamRead]),
            },
            valid: Validity::default(),
            last_used_at: None,
        };
        self.keys.0.lock().unwrap().insert(hash, credential);
        let scope = RoleAuthority::for_role("test").scope(id);
        Tenant {
            id,
            placement,
            key: token.reveal().to_owned(),
            scope,
        }
    }

    /// What every role knows of a tenant from now on.
    pub async fn tell_tenant(&self, id: TenantId, body: &TenantBody) {
        let body = serde_json::to_string(body).unwrap();
        let kind = ControlKind::Tenant;
        self.control(id, kind, id.to_string(), Some(body)).await;
    }

    /// Makes a grant known, or revokes it.
    pub async fn grant(&self, tenant: &Tenant, id: GrantId, body: Option<&GrantBody>) {
        let body = body.map(|body| serde_json::to_string(body).unwrap());
        let kind = ControlKind::Grant;
        self.control(tenant.id, kind, id.to_string(), body).await;
    }

    /// Makes a destination known, or gone.
    pub async fn destination(&self, tenant: &Tenant, id: DestinationId, there: bool) {
        self.set_destination(tenant, id, there.then_some(DestinationState::Active))
            .await;
    }

    /// Makes a destination known that was created in that second.
    pub async fn created(&self, tenant: &Tenant, id: DestinationId, second: i64) {
        let created = Some((DestinationState::Active, second * 1_000_000));
        self.tell_destination(tenant, id, created).await;
    }

    /// Gone where it has no state.
    pub async fn set_destination(
        &self,
        tenant: &Tenant,
        id: DestinationId,
        state: Option<DestinationState>,
    ) {
        self.tell_destination(tenant, id, state.map(|state| (state, 0)))
            .await;
    }

    async fn tell_destination(
        &self,
        tenant: &Tenant,
        id: DestinationId,
        there: Option<(DestinationState, i64)>,
    ) {
        let body = there.map(|(state, created_at)| {
            let body = DestinationBody {
                kind: "webhook".to_owned(),
                state,
                event_types: Vec::new(),
                devices: Vec::new(),
                created_at,
            };
            serde_json::to_string(&body).unwrap()
        });
        self.control(tenant.id, ControlKind::Destination, id.to_string(), body)
            .await;
    }

    /// The tenant's key ends at a time, in microseconds.
    pub fn key_ends(&self, tenant: &Tenant, at: i64) {
        let hash = TokenHasher::new(&HASH_KEY).hash(tenant.key.as_bytes());
        if let Some(key) = self.keys.0.lock().unwrap().get_mut(&hash) {
            key.valid.expires_at = Some(at);
        }
    }

    /// Revokes the tenant's key: the store does not have it any more, and says so.
    pub async fn revoke_key(&self, tenant: &Tenant) {
        let hash = TokenHasher::new(&HASH_KEY).hash(tenant.key.as_bytes());
        self.keys.0.lock().unwrap().remove(&hash);
        let key = KeyId::from_u128(tenant.id.as_u128()).to_string();
        self.control(tenant.id, ControlKind::Key, key, None).await;
    }

    /// The last value of each key of a compacted topic's partition.
    pub async fn table(&self, topic: Topic, partition: u32) -> HashMap<String, Vec<u8>> {
        let mut table = HashMap::new();
        let bounds = self.log.bounds(topic, partition).await.unwrap();
        let mut next = bounds.earliest;
        let from = vec![(partition, next)];
        let mut reader = self.log.reader(topic, from).await.unwrap();
        while next < bounds.last_stable {
            let batch = reader.next().await.unwrap();
            for record in batch.iter() {
                let key = String::from_utf8(record.key.to_vec()).unwrap();
                match record.value {
                    Some(value) => table.insert(key, value.to_vec()),
                    None => table.remove(&key),
                };
            }
            next = batch.next_offset();
        }
        table
    }

    async fn control(&self, tenant: TenantId, kind: ControlKind, id: String, body: Option<String>) {
        let version = self.directory.version(tenant) + 1;
        let event = TenantEvent {
            tenant_id: tenant.to_string(),
            version,
            kind,
            id,
            deleted: body.is_none(),
            effective_from: 0,
            body: body.unwrap_or_else(|| "{}".to_owned()),
        };
        let mut value = Vec::new();
        self.codecs.encode(&event, &mut value).unwrap();
        let mut records = Records::new();
        records.push(Topic::TenantEvents, 0, 1, event.id.as_bytes(), [], &value);
        self.log.append(records).await.unwrap();
        self.directory.wait_for(tenant, version).await;
    }

    /// What gives the platform's notices.
    pub fn announcer(&self) -> Arc<Announcer> {
        Announcer::new(AnnouncerDeps {
            log: Arc::clone(&self.log),
            codecs: Arc::clone(&self.codecs),
            directory: Arc::clone(&self.directory),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            authority: RoleAuthority::for_role("sink"),
            role: "sink",
        })
    }

    /// Serves `/stream`, and runs everything a sink does.
    pub async fn sink(&self, change: impl FnOnce(&mut SinkSettings)) -> SocketAddr {
        self.sink_as("sink-1", &self.lifecycle, change).await
    }

    /// The same as another sink of the deployment.
    pub async fn sink_as(
        &self,
        instance: &str,
        lifecycle: &Lifecycle,
        change: impl FnOnce(&mut SinkSettings),
    ) -> SocketAddr {
        let mut settings = SinkSettings::new(TOKEN_KEY);
        change(&mut settings);
        let clock = Arc::new(|| 1_700_000_000_000_000i64);
        let authenticator = Authenticator::new(
            Arc::clone(&self.keys) as _,
            AuthSettings::new(HASH_KEY),
            clock,
        );
        let sink = Sink::build(SinkDeps {
            log: Arc::clone(&self.log),
            codecs: Arc::clone(&self.codecs),
            directory: Arc::clone(&self.directory),
            authenticator: Arc::new(authenticator),
            store: self.store().await,
            authority: RoleAuthority::for_role("sink"),
            clock: Arc::new(SystemClock),
            metrics: Arc::clone(&self.metrics),
            settings,
            instance: instance.to_owned(),
        })
        .unwrap();
        lifecycle.spawn("sink", Arc::clone(&sink).run(lifecycle.clone()));
        let server = Server::bind(ListenConfig::plain(SocketAddr::from((
            Ipv4Addr::LOCALHOST,
            0,
        ))))
        .unwrap();
        let address = server.local_addr().unwrap();
        server.serve(
            Names::new(Arc::clone(&self.directory), Arc::new(SystemClock), sink),
            lifecycle,
        );
        address
    }

    /// Appends one position of a device with each of these event numbers.
    pub async fn append(
        &self,
        tenant: &Tenant,
        device: &str,
        numbers: impl IntoIterator<Item = i64>,
    ) {
        let mut records = Records::new();
        for number in numbers {
            self.push(&mut records, tenant, &position(tenant, device, number));
        }
        self.log.append(records).await.unwrap();
    }

    /// Adds a position to the records of its device's lane.
    pub fn push(&self, records: &mut Records, tenant: &Tenant, event: &Position) {
        let mut value = Vec::new();
        self.codecs.encode(event, &mut value).unwrap();
        let id = event_id(event);
        let mut key = Vec::new();
        tenant.scope.record_key(&event.device_id, &mut key);
        let headers = [
            ("ce_id", id.as_bytes()),
            ("ce_type", EventType::Position.name().as_bytes()),
        ];
        let lane = tenant.placement.lane(&event.device_id);
        records.push(
            Topic::TenantStreams,
            lane,
            event.received_at / 1000,
            &key,
            headers,
            &value,
        );
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.lifecycle.drain();
    }
}

pub fn event_id(event: &Position) -> String {
    format!("{}.{}", event.entity_id, event.revision)
}

pub fn position(tenant: &Tenant, device: &str, number: i64) -> Position {
    Position {
        entity_id: format!("{device}-{number}"),
        revision: 1,
        tenant_id: tenant.id.to_string(),
        device_id: device.to_owned(),
        fix_id: format!("{number:08}"),
        session_id: None,
        recorded_at: number * 1_000_000,
        received_at: number * 1_000_000,
        latitude: 52.5,
        longitude: 13.4,
        altitude_m: None,
        accuracy_m: Some(3.0),
        speed_mps: None,
        heading_deg: None,
        battery: None,
        attributes: Default::default(),
        latest: true,
        late: false,
        ahead: false,
    }
}

fn config(partitions: u32, folder: &std::path::Path) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions,
        // The events are of 1970.
        retention_seconds: 100 * 365 * 86_400,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 32 << 20,
        session_timeout_ms: 6000,
        embedded: EmbeddedConfig {
            path: folder.join("log"),
            min_free_bytes: 1 << 20,
            cache_bytes: 16 << 20,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}
