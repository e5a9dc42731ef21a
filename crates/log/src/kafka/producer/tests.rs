//! A producer that has failed for good, on a real broker.

use std::sync::Arc;
use std::time::Duration;

use laneway_testkit::{KafkaCluster, embedded_only, wait};
use rdkafka::bindings::rd_kafka_test_fatal_error;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaRespErr;

use super::Deliveries;
use crate::kafka::KafkaLog;
use crate::{Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, Records, Topic, TopicSetup};

const BOUND: Duration = Duration::from_secs(30);

fn config(bootstrap: String) -> LogConfig {
    LogConfig {
        backend: Backend::Kafka,
        topics: TopicSetup::Create,
        topic_prefix: format!("producer-{}-", std::process::id()),
        topic_sets: Vec::new(),
        partitions: 2,
        retention_seconds: 3600,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 1 << 24,
        session_timeout_ms: 6_000,
        embedded: EmbeddedConfig {
            path: "unused".into(),
            min_free_bytes: 0,
            cache_bytes: 0,
        },
        kafka: KafkaConfig::plaintext(bootstrap),
    }
}

fn record() -> Records {
    let mut records = Records::new();
    records.push(Topic::LocationUpdates, 0, 0, b"key", [], b"value");
    records
}

#[expect(
    unsafe_code,
    reason = "librdkafka's own way to test what follows a fatal error; the client is alive"
)]
fn fail_for_good(client: &BaseProducer<Deliveries>) {
    let failed = unsafe {
        rd_kafka_test_fatal_error(
            client.client().native_ptr(),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"a test".as_ptr(),
        )
    };
    assert_eq!(failed, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_failed_for_good_is_replaced_and_appends_go_on() {
    if embedded_only("the end of a Kafka producer") {
        return;
    }
    let cluster = KafkaCluster::shared().await.unwrap();
    let log = KafkaLog::open(&config(cluster.bootstrap())).await.unwrap();
    log.append(record()).await.unwrap();
    let client = &log.shared.appender.shared.client;
    for _ in 0..3 {
        let failed = Arc::as_ptr(&client.load_full());
        fail_for_good(&client.load());
        wait::until("another producer", BOUND, || async {
            Arc::as_ptr(&client.load_full()) != failed
        })
        .await
        .unwrap();
        wait::until("appends to go on", BOUND, || async {
            log.append(record()).await.is_ok()
        })
        .await
        .unwrap();
        assert!(log.health().is_ok());
    }
    log.close().await;
}
