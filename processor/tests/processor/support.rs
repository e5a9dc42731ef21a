//! An embedded log, tenants, devices and running processors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use laneway_directory::Directory;
use laneway_log::{
    Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, Reader, Records, Topic, TopicSetup,
};
use laneway_processor::{Health, Processor, ProcessorDeps, ProcessorSettings};
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::{
    Attributes, Codecs, ControlKind, LocationUpdate, MemoryRegistry, SessionAction, SessionEvent,
    TenantEvent,
};
use laneway_tenancy::control::{DeviceBody, TenantBody, TenantState};
use laneway_tenancy::{Placement, TenantId};
use tokio::task::JoinHandle;

pub const PARTITIONS: u32 = 4;
pub const SECOND: i64 = 1_000_000;
pub const START: i64 = 1_763_690_400 * SECOND;
/// Nothing that a test waits for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn set(&self, now_us: i64) {
        self.0.store(now_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct World {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub clock: Arc<ManualClock>,
    pub settings: ProcessorSettings,
    versions: BTreeMap<TenantId, i64>,
    changes: Vec<TenantEvent>,
    _folder: tempfile::TempDir,
}

/// A processor, running.
pub struct Running {
    pub lifecycle: Lifecycle,
    pub health: Health,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub async fn drain(self) {
        self.lifecycle.drain();
        let ended = tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("draining in time");
        ended.expect("no panic").expect("a clean end");
    }

    /// Ends it where it is, as a kill would.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn config(path: &Path) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: vec!["bank".to_owned()],
        partitions: PARTITIONS,
        retention_seconds: 366 * 86_400 * 100,
        retention_bytes: 0,
        max_record_bytes: 64 << 10,
        max_queued_bytes: 64 << 20,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path: path.to_owned(),
            min_free_bytes: 1,
            cache_bytes: 16 << 20,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}

pub fn tenant(number: u128) -> TenantId {
    TenantId::from_u128(number)
}

impl World {
    pub async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let log = laneway_log::open(&config(folder.path())).await.unwrap();
        let codecs = Codecs::new(Arc::new(MemoryRegistry::new()));
        codecs.register("").await.unwrap();
        World {
            log,
            codecs: Arc::new(codecs),
            directory: Arc::new(Directory::new()),
            clock: Arc::new(ManualClock(AtomicI64::new(START))),
            settings: ProcessorSettings {
                idle_close_seconds: 1,
                ..ProcessorSettings::default()
            },
            versions: BTreeMap::new(),
            changes: Vec::new(),
            _folder: folder,
        }
    }

    pub fn start(&self, instance: &str) -> Running {
        self.start_in(0, instance)
    }

    /// Of a topic set.
    pub fn start_in(&self, set: u32, instance: &str) -> Running {
        let processor = Processor::build(ProcessorDeps {
            set,
            log: Arc::clone(&self.log),
            codecs: Arc::clone(&self.codecs),
            directory: Arc::clone(&self.directory),
            clock: Arc::<ManualClock>::clone(&self.clock),
            settings: self.settings.clone(),
            instance: instance.to_owned(),
        })
        .unwrap();
        let (lifecycle, health) = (Lifecycle::new(), processor.health());
        Running {
            task: tokio::spawn(processor.run(lifecycle.clone())),
            lifecycle,
            health,
        }
    }

    fn change(
        &mut self,
        id: TenantId,
        kind: ControlKind,
        name: &str,
        body: String,
        deleted: bool,
    ) -> i64 {
        let version = self.versions.entry(id).or_default();
        *version += 1;
        let event = TenantEvent {
            tenant_id: id.to_string(),
            version: *version,
            kind,
            id: name.to_owned(),
            deleted,
            effective_from: START,
            body,
        };
        self.directory.apply(&event).unwrap();
        self.changes.push(event);
        *version
    }

    /// Removes what was made with the same id, leaving its last body.
    fn remove(&mut self, id: TenantId, kind: ControlKind, name: &str) -> i64 {
        let text = id.to_string();
        let made =
            self.changes.iter().rev().find(|c| {
                (c.tenant_id.as_str(), c.kind, c.id.as_str()) == (text.as_str(), kind, name)
            });
        let body = made.expect("it was made before").body.clone();
        self.change(id, kind, name, body, true)
    }

    /// A directory that knows what the compacted topic still has of all changes, after each of
    /// them was relayed twice.
    pub async fn restore_directory(&mut self) {
        for _ in 0..2 {
            let mut records = Records::new();
            for change in &self.changes {
                let mut value = Vec::new();
                self.codecs.encode(change, &mut value).unwrap();
                let key = laneway_directory::record_key(change).unwrap();
                records.push(Topic::TenantEvents, 0, 1, key.as_bytes(), [], &value);
            }
            self.log.append(records).await.unwrap();
        }
        self.directory = Arc::new(Directory::new());
        let lifecycle = Lifecycle::new();
        let following = tokio::spawn(laneway_directory::follow(
            Arc::clone(&self.directory),
            Arc::clone(&self.log),
            Arc::clone(&self.codecs),
            lifecycle.clone(),
        ));
        let caught_up = tokio::time::timeout(PATIENCE, self.directory.caught_up()).await;
        caught_up.expect("reading the changes in time");
        lifecycle.drain();
        following.await.unwrap().unwrap();
    }

    /// A tenant with these lanes; returns its control version.
    pub fn add_tenant(&mut self, id: TenantId, lanes: &[u32]) -> i64 {
        let placement = Placement {
            generation: 1,
            partitions: PARTITIONS,
            lanes: lanes.to_vec(),
        };
        let body = TenantBody::plain(id.to_string(), placement);
        self.change_tenant(id, &body)
    }

    fn change_tenant(&mut self, id: TenantId, body: &TenantBody) -> i64 {
        let body = serde_json::to_string(body).unwrap();
        self.change(id, ControlKind::Tenant, &id.to_string(), body, false)
    }

    /// Begins to close it.
    pub fn close_tenant(&mut self, id: TenantId) -> i64 {
        let entry = self.directory.tenant(id).expect("it was made before");
        let body = TenantBody {
            state: TenantState::Closing,
            ..entry.body.clone()
        };
        self.change_tenant(id, &body)
    }

    pub fn add_device(&mut self, id: TenantId, device: &str) -> i64 {
        let since = self.versions.get(&id).map_or(1, |v| v + 1);
        let body = serde_json::to_string(&DeviceBody {
            since,
            disabled: false,
        })
        .unwrap();
        self.change(id, ControlKind::Device, device, body, false)
    }

    pub fn remove_device(&mut self, id: TenantId, device: &str) -> i64 {
        self.remove(id, ControlKind::Device, device)
    }

    pub fn remove_tenant(&mut self, id: TenantId) -> i64 {
        self.remove(id, ControlKind::Tenant, &id.to_string())
    }

    pub fn push_fix(&self, records: &mut Records, partition: u32, fix: &LocationUpdate) {
        let mut value = Vec::new();
        self.codecs.encode(fix, &mut value).unwrap();
        let key = format!("{}/{}", fix.tenant_id, fix.device_id);
        records.push(
            Topic::LocationUpdates,
            partition,
            fix.received_at / 1000,
            key.as_bytes(),
            [],
            &value,
        );
    }

    pub fn push_session(&self, records: &mut Records, partition: u32, event: &SessionEvent) {
        let mut value = Vec::new();
        self.codecs.encode(event, &mut value).unwrap();
        let key = format!("{}/{}", event.tenant_id, event.device_id);
        records.push(
            Topic::SessionEvents,
            partition,
            event.received_at / 1000,
            key.as_bytes(),
            [],
            &value,
        );
    }

    pub async fn append_fix(&self, partition: u32, fix: &LocationUpdate) {
        let mut records = Records::new();
        self.push_fix(&mut records, partition, fix);
        self.log.append(records).await.unwrap();
    }

    pub async fn follow(&self, topic: Topic) -> Follower {
        let reader = self
            .log
            .reader(topic, (0..2 * PARTITIONS).map(|p| (p, 0)).collect())
            .await
            .unwrap();
        Follower { reader }
    }
}

pub fn fix(
    id: TenantId,
    device: &str,
    fix_id: &str,
    at: i64,
    control_version: i64,
) -> LocationUpdate {
    LocationUpdate {
        tenant_id: id.to_string(),
        device_id: device.to_owned(),
        fix_id: fix_id.to_owned(),
        session_id: None,
        recorded_at: at,
        received_at: at,
        latitude: 52.0,
        longitude: 13.0,
        altitude_m: None,
        accuracy_m: None,
        speed_mps: None,
        heading_deg: None,
        battery: None,
        attributes: Attributes::new(),
        control_version,
    }
}

pub fn session(
    id: TenantId,
    device: &str,
    name: &str,
    action: SessionAction,
    at: i64,
    version: i64,
) -> SessionEvent {
    SessionEvent {
        tenant_id: id.to_string(),
        device_id: device.to_owned(),
        session_id: name.to_owned(),
        action,
        at,
        received_at: at,
        attributes: Attributes::new(),
        control_version: version,
    }
}

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Read {
    pub partition: u32,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, String>,
}

impl Read {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub struct Follower {
    reader: Box<dyn Reader>,
}

impl Follower {
    /// Reads on until `enough`, looking after every batch.
    pub async fn until(
        &mut self,
        what: &str,
        read: &mut Vec<Read>,
        mut enough: impl FnMut(&[Read]) -> bool,
    ) {
        let reading = async {
            while !enough(read) {
                let batch = self.reader.next().await.unwrap();
                for record in batch.iter() {
                    read.push(Read {
                        partition: batch.partition(),
                        key: String::from_utf8(record.key.to_vec()).unwrap(),
                        value: record.value.unwrap_or_default().to_vec(),
                        headers: record
                            .headers
                            .iter()
                            .map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into_owned()))
                            .collect(),
                    });
                }
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            panic!(
                "{what}: not within {PATIENCE:?}; {} records were read",
                read.len()
            );
        }
    }
}
