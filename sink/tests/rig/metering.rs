//! Metering, and what it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use laneway_log::{Log, Records, Topic};
use laneway_runtime::{Lifecycle, SystemClock};
use laneway_schemas::{ControlKind, headers::REDRIVEN};
use laneway_sink::metering::{Metering, MeteringDeps};
use laneway_sink::settings::MeteringSettings;
use laneway_store::{ShardConfig, Store, StoreConfig};
use laneway_tenancy::control::{Limits, RoleAuthority, TenantBody};
use laneway_testkit::{Database, EmptyDatabase, wait};

use super::receivers::Running;
use super::{BOUND, Rig, Tenant};

pub const METERED: [Topic; 3] = [
    Topic::LocationUpdates,
    Topic::SessionEvents,
    Topic::SinkCursors,
];

/// Of a tenant and day: events, bytes and devices.
pub type Counted = BTreeMap<(String, i64), (i64, i64, BTreeSet<String>)>;

pub async fn store(database: Database) -> (Store, EmptyDatabase) {
    let empty = database.empty().await.unwrap();
    let config = StoreConfig {
        url: empty.url.clone(),
        max_connections: 4,
        acquire_timeout_ms: 5000,
        secret_key: [9; 32],
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
        shards: ShardConfig::default(),
    };
    (Store::open(&config).await.unwrap(), empty)
}

impl Rig {
    /// Starts metering in small batches.
    pub fn meter(&self, instance: &str, store: &Store) -> Running {
        self.meter_on(Arc::clone(&self.log), instance, store)
    }

    pub fn meter_on(&self, log: Arc<dyn Log>, instance: &str, store: &Store) -> Running {
        let lifecycle = Lifecycle::new();
        let metering = Metering::new(MeteringDeps {
            set: 0,
            log,
            codecs: Arc::clone(&self.codecs),
            directory: Arc::clone(&self.directory),
            store: store.clone(),
            authority: RoleAuthority::for_role("sink"),
            clock: Arc::new(SystemClock),
            settings: MeteringSettings {
                batch_records: 7,
                linger_ms: 5,
                ..MeteringSettings::default()
            },
            instance: instance.to_owned(),
        });
        let task = tokio::spawn(Arc::new(metering).run(lifecycle.clone()));
        Running { lifecycle, task }
    }

    /// Appends what ingest would have accepted of a device at a time.
    pub async fn accept(&self, tenant: &Tenant, topic: Topic, device: &str, times_ms: &[i64]) {
        self.accept_with(tenant, topic, device, times_ms, false)
            .await;
    }

    /// The same, as what was quarantined is sent again.
    pub async fn accept_again(&self, tenant: &Tenant, device: &str, time_ms: i64) {
        self.accept_with(tenant, Topic::LocationUpdates, device, &[time_ms], true)
            .await;
    }

    async fn accept_with(
        &self,
        tenant: &Tenant,
        topic: Topic,
        device: &str,
        times_ms: &[i64],
        redriven: bool,
    ) {
        let mut key = Vec::new();
        tenant.scope.record_key(device, &mut key);
        let lane = tenant.placement.lane(device);
        let yes: &[u8] = b"1";
        let mut records = Records::new();
        for time in times_ms {
            let headers = redriven.then_some((REDRIVEN, yes));
            let value = format!("what was accepted at {time}");
            records.push(topic, lane, *time, &key, headers, value.as_bytes());
        }
        self.log.append(records).await.unwrap();
    }

    /// Until everything that is in the log now has been metered.
    pub async fn metered(&self, store: &Store) {
        let authority = RoleAuthority::for_role("test");
        for topic in METERED {
            for partition in 0..self.log.partitions(topic) {
                let end = self.log.bounds(topic, partition).await.unwrap().end;
                let name = topic.name();
                wait::until("metering", BOUND, || async {
                    let at = store.metered(&authority, 1, name, partition).await.unwrap();
                    at.unwrap_or(0) >= end
                })
                .await
                .unwrap();
            }
        }
    }

    /// How much has been metered, in records.
    pub async fn progress(&self, store: &Store) -> u64 {
        let authority = RoleAuthority::for_role("test");
        let mut sum = 0;
        for topic in METERED {
            for partition in 0..self.log.partitions(topic) {
                let at = store.metered(&authority, 1, topic.name(), partition).await;
                sum += at.unwrap().unwrap_or(0);
            }
        }
        sum
    }

    /// Counts the accepted events of the topics, all at once.
    pub async fn recount(&self) -> Counted {
        let mut counted = Counted::new();
        for topic in [Topic::LocationUpdates, Topic::SessionEvents] {
            for partition in 0..self.log.partitions(topic) {
                let end = self.log.bounds(topic, partition).await.unwrap().end;
                let mut next = 0;
                let mut reader = self.log.reader(topic, vec![(partition, 0)]).await.unwrap();
                while next < end {
                    let batch = reader.next().await.unwrap();
                    for record in batch.iter().filter(|r| r.headers.get(REDRIVEN).is_none()) {
                        let key = std::str::from_utf8(record.key).unwrap();
                        let (tenant, device) = key.split_once('/').unwrap();
                        let day = record.timestamp_ms / 86_400_000;
                        let of = counted.entry((tenant.to_owned(), day)).or_default();
                        of.0 += 1;
                        of.1 += (record.key.len() + record.value.unwrap().len()) as i64;
                        of.2.insert(device.to_owned());
                    }
                    next = batch.next_offset();
                }
            }
        }
        counted
    }

    /// Gives a tenant other limits.
    pub async fn limit(&self, tenant: &Tenant, limits: Limits) {
        let known = self.directory.tenant(tenant.id).unwrap();
        let body = TenantBody {
            limits,
            ..known.body.clone()
        };
        let body = serde_json::to_string(&body).unwrap();
        let id = tenant.id.to_string();
        self.control(tenant.id, ControlKind::Tenant, id, Some(body))
            .await;
    }

    /// The ids of the records of the tenant as a whole, in its stream.
    pub async fn of_the_whole_tenant(&self, tenant: &Tenant) -> Vec<String> {
        let key = format!("{}/~", tenant.id);
        let mut ids = Vec::new();
        for lane in 0..self.log.partitions(Topic::TenantStreams) {
            let bounds = self.log.bounds(Topic::TenantStreams, lane).await.unwrap();
            let mut next = bounds.earliest;
            let from = vec![(lane, next)];
            let mut reader = self.log.reader(Topic::TenantStreams, from).await.unwrap();
            while next < bounds.last_stable {
                let batch = reader.next().await.unwrap();
                let found = batch.iter().filter(|r| r.key == key.as_bytes());
                ids.extend(found.map(|r| r.headers.get_str("ce_id").unwrap().to_owned()));
                next = batch.next_offset();
            }
        }
        ids
    }
}
