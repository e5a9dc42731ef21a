//! What the processor refused, listed and redriven by the operator.

use std::path::Path;
use std::sync::Arc;

use laneway_log::{Backend, EmbeddedConfig, KafkaConfig, LogConfig, Records, Topic, TopicSetup};
use laneway_runtime::{Clock, SystemClock};
use laneway_schemas::{Attributes, Codecs, LocationUpdate};
use laneway_store::{ShardConfig, Store, StoreConfig};
use serde_json::Value;

use super::Laneway;
use super::ask::wait_for;

/// The log of a stopped process.
fn log_config(data: &Path) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Verify,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions: 24,
        retention_seconds: 366 * 86_400,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 1 << 24,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path: data.join("log"),
            min_free_bytes: 0,
            cache_bytes: 1 << 22,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}

/// Writes a fix of the device `truck` into a lane, under each key, as something else than ingest
/// would.
#[tokio::main(flavor = "current_thread")]
async fn smuggle(data: &Path, tenant: &str, lane: u32, keys: &[String]) {
    let log = laneway_log::open(&log_config(data)).await.unwrap();
    let config = StoreConfig {
        url: format!("sqlite:{}", data.join("laneway.db").display()),
        max_connections: 1,
        acquire_timeout_ms: 10_000,
        secret_key: [0; 32],
        secret_keys_old: Vec::new(),
        slow_query_ms: 0,
        shards: ShardConfig::default(),
    };
    let store = Store::open(&config).await.unwrap();
    let codecs = Codecs::new(Arc::new(store.schemas()));
    codecs.register("").await.unwrap();
    let now = SystemClock.now_us();
    let fix = LocationUpdate {
        tenant_id: tenant.to_owned(),
        device_id: "truck".to_owned(),
        fix_id: "found".to_owned(),
        session_id: None,
        recorded_at: now,
        received_at: now,
        latitude: 52.5,
        longitude: 13.0,
        altitude_m: None,
        accuracy_m: None,
        speed_mps: None,
        heading_deg: None,
        battery: None,
        attributes: Attributes::new(),
        control_version: 1,
    };
    let mut value = Vec::new();
    codecs.encode(&fix, &mut value).unwrap();
    let mut records = Records::new();
    for key in keys {
        let topic = Topic::LocationUpdates;
        records.push(topic, lane, now / 1000, key.as_bytes(), [], &value);
    }
    log.append(records).await.unwrap();
    log.close().await;
}

impl Laneway {
    fn quarantined(&self, reason: &str) -> Vec<Value> {
        let listed = self.admin(&["quarantine", "list", "--reason", reason]);
        listed.as_array().cloned().unwrap_or_default()
    }
}

#[test]
fn a_refused_fix_is_redriven_once_its_device_is_registered_and_a_foreign_one_refused_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut laneway = Laneway::new(folder.path());
    laneway.start();
    let tenant = laneway.admin(&["tenant", "create", "acme"]);
    let other = laneway.admin(&["tenant", "create", "other"]);
    let scope = ["--tenant", "acme", "--scope", "positions:read"];
    let key = laneway.admin(&[&["key", "create"], &scope[..]].concat())["key"].clone();
    let key = key.as_str().unwrap();
    laneway.stop();

    let id = tenant["id"].as_str().unwrap();
    let lane = tenant["lanes"][0].as_u64().unwrap();
    let keys = [id, other["id"].as_str().unwrap()].map(|id| format!("{id}/truck"));
    let lane = u32::try_from(lane).unwrap();
    smuggle(&folder.path().join("data"), id, lane, &keys);
    laneway.start();
    wait_for("both are refused", || {
        laneway.quarantined("unknown-device").len() == 1
            && laneway.quarantined("tenant-mismatch").len() == 1
    });
    let refused = laneway.quarantined("unknown-device").remove(0);
    assert_eq!(refused["key"].as_str(), Some(keys[0].as_str()));

    laneway.admin(&["device", "create", "--tenant", "acme", "truck"]);
    let by_reason = ["quarantine", "redrive", "--tenant", "acme", "--reason"];
    let done = laneway.admin(&[&by_reason[..], &["unknown-device"]].concat());
    assert_eq!(done["redriven"], 1, "{done}");
    wait_for("its position", || {
        let path = "/devices/truck/position";
        laneway.ask("GET", path, key, &Value::Null).1["fix_id"] == "found"
    });

    let foreign = laneway.quarantined("tenant-mismatch").remove(0);
    let position = foreign["position"].as_str().unwrap();
    let done = laneway.admin(&["quarantine", "redrive", position]);
    assert_eq!(done["redriven"], 0, "of a device that there is not: {done}");
    laneway.admin(&["device", "create", "--tenant", "other", "truck"]);
    let done = laneway.admin(&["quarantine", "redrive", position]);
    assert_eq!(done["redriven"], 1, "{done}");
    wait_for("the foreign one is refused again", || {
        laneway.quarantined("tenant-mismatch").len() == 2
    });
    let all = laneway.run(&["admin", "quarantine", "redrive"]);
    assert!(!all.status.success(), "everything was redriven at once");
    laneway.stop();
}
