//! Events as the processor would write them, straight into `tenant-streams`; and as plain texts
//! for the floors, of the same size as what a subscriber of Laneway gets.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::BoxFuture;
use laneway_log::{Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, LogError, Records};
use laneway_log::{Topic, TopicSetup};
use laneway_schemas::{Codecs, ConfluentRegistry, Position};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaErrorCode};

use crate::clock;

const FLUSH: Duration = Duration::from_secs(30);
/// 2024-01-01, µs.
const FROM_US: i64 = 1_704_067_200_000_000;

/// Where events of one tenant go.
#[derive(Clone, Debug)]
pub struct Target {
    /// `ten_…`
    pub tenant: String,
    pub lanes: Vec<u32>,
    pub devices: usize,
}

pub struct Laneway {
    log: Arc<dyn Log>,
    codecs: Codecs,
}

impl Laneway {
    pub async fn open(bootstrap: &str, registry: &str, partitions: u32) -> Result<Self> {
        let log = laneway_log::open(&config(bootstrap, partitions)).await?;
        let registry =
            ConfluentRegistry::new(&[registry.to_owned()], None, Duration::from_secs(5))?;
        let codecs = Codecs::new(Arc::new(registry));
        codecs.register("").await?;
        Ok(Laneway { log, codecs })
    }

    /// Queues the events of these numbers, one tenant after the other; what it gives resolves
    /// when they are durable.
    pub fn append(
        &self,
        targets: &[Target],
        numbers: std::ops::Range<usize>,
    ) -> Result<BoxFuture<'static, Result<(), LogError>>> {
        let mut records = Records::new();
        for number in numbers {
            let target = &targets[number % targets.len()];
            self.position(&mut records, target, number / targets.len())?;
        }
        Ok(self.log.append(records))
    }

    fn position(&self, records: &mut Records, target: &Target, number: usize) -> Result<()> {
        let device = number % target.devices;
        let lane = target.lanes[device % target.lanes.len()];
        let name = format!("d{device}");
        let recorded_at = FROM_US + i64::try_from(number)? * 1000;
        let event = Position {
            entity_id: format!("{number:032x}"),
            revision: 1,
            tenant_id: target.tenant.clone(),
            device_id: name.clone(),
            fix_id: format!("{number:032x}"),
            session_id: None,
            recorded_at,
            received_at: recorded_at,
            latitude: 52.5,
            longitude: 13.4,
            altitude_m: None,
            accuracy_m: Some(4.5),
            speed_mps: Some(8.25),
            heading_deg: Some(97.5),
            battery: Some(0.75),
            attributes: Default::default(),
            latest: true,
            late: false,
            ahead: false,
        };
        let id = format!("{}.1", event.entity_id);
        let source = format!("/tenants/{}/devices/{name}", target.tenant);
        let headers: [(&str, &[u8]); 6] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.as_bytes()),
            ("ce_type", b"laneway.position"),
            ("ce_source", source.as_bytes()),
            ("ce_time", b"2024-01-01T00:00:00.000000Z"),
            ("content-type", b"application/avro"),
        ];
        let mut value = Vec::new();
        self.codecs.encode(&event, &mut value)?;
        let key = format!("{}/{name}", target.tenant);
        records.push(
            Topic::TenantStreams,
            lane,
            (clock::seconds() * 1000.0) as i64,
            key.as_bytes(),
            headers,
            &value,
        );
        Ok(())
    }
}

/// The same for a floor.
pub struct Plain {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

impl Plain {
    pub fn open(bootstrap: &str, topic: &str) -> Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("compression.codec", "lz4")
            .set("queue.buffering.max.messages", "1000000")
            .create()?;
        Ok(Plain {
            producer,
            topic: topic.to_owned(),
        })
    }

    /// The same, to another topic.
    pub fn of(&self, topic: &str) -> Self {
        Plain {
            producer: self.producer.clone(),
            topic: topic.to_owned(),
        }
    }

    pub fn append(&self, targets: &[Target], numbers: std::ops::Range<usize>) -> Result<()> {
        for number in numbers {
            let target = &targets[number % targets.len()];
            let number = number / targets.len();
            let device = number % target.devices;
            let text = text(&target.tenant, device, number);
            let key = format!("{}/d{device}", target.tenant);
            let mut record = BaseRecord::to(&self.topic).key(&key).payload(&text);
            while let Err((error, same)) = self.producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                if error != full {
                    bail!(error);
                }
                std::thread::sleep(Duration::from_millis(1));
                record = same;
            }
        }
        Ok(())
    }

    pub fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(FLUSH)?)
    }
}

/// What a subscriber of Laneway gets for an event of [`Laneway`].
fn text(tenant: &str, device: usize, number: usize) -> String {
    format!(
        r#"{{"type":"event","position":[1,7,{number}],"event":{{"specversion":"1.0","id":"{number:032x}.1","type":"laneway.position","source":"/tenants/{tenant}/devices/d{device}","time":"2024-01-01T00:00:00.000000Z","subject":"d{device}","datacontenttype":"application/json","tenantid":"{tenant}","data":{{"entity_id":"{number:032x}","revision":1,"tenant_id":"{tenant}","device_id":"d{device}","fix_id":"{number:032x}","recorded_at":"2024-01-01T00:00:00.000000Z","received_at":"2024-01-01T00:00:00.000000Z","latitude":52.5,"longitude":13.4,"accuracy_m":4.5,"speed_mps":8.25,"heading_deg":97.5,"battery":0.75,"latest":true,"late":false,"ahead":false}}}}}}"#
    )
}

fn config(bootstrap: &str, partitions: u32) -> LogConfig {
    LogConfig {
        backend: Backend::Kafka,
        topics: TopicSetup::Verify,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions,
        retention_seconds: 3600,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 256 << 20,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path: "unused".into(),
            min_free_bytes: 0,
            cache_bytes: 0,
        },
        kafka: KafkaConfig {
            linger_ms: 5.0,
            compression: "lz4".into(),
            transaction_timeout_ms: 10_000,
            delivery_timeout_ms: 30_000,
            ..KafkaConfig::plaintext(bootstrap)
        },
    }
}
