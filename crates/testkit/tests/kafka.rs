//! Brokers that tests start: they can be produced to, reached over SASL_SSL, killed and restarted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{KafkaCluster, KafkaOptions, embedded_only, eventually};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, error::KafkaResult};

const BOUND: Duration = Duration::from_secs(30);

fn config(cluster: &KafkaCluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.bootstrap())
        .set("acks", "all")
        // A paused broker keeps its connections: only this makes a client give up on it.
        .set("socket.timeout.ms", "3000")
        .set("reconnect.backoff.max.ms", "500");
    if let (Some(ca), Some(user), Some(password)) =
        (cluster.ca_pem(), cluster.username(), cluster.password())
    {
        config
            .set("security.protocol", "SASL_SSL")
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("ssl.ca.pem", ca)
            .set("sasl.username", user)
            .set("sasl.password", password);
    }
    config
}

async fn create_topic(config: &ClientConfig, name: &str, replicas: i32) -> Result<()> {
    let admin: AdminClient<_> = config.create().context("creating an admin client")?;
    let topic = NewTopic::new(name, 4, TopicReplication::Fixed(replicas));
    let options = AdminOptions::new().operation_timeout(Some(BOUND));
    let made = admin
        .create_topics([&topic], &options)
        .await
        .context("creating a topic")?;
    for outcome in made {
        outcome.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
    }
    Ok(())
}

/// Counts what the brokers acknowledged.
#[derive(Default)]
struct Acknowledged(AtomicUsize);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        self.0
            .fetch_add(usize::from(delivered.is_ok()), Ordering::Relaxed);
    }
}

fn producer(config: &ClientConfig) -> KafkaResult<BaseProducer<Acknowledged>> {
    config.create_with_context(Acknowledged::default())
}

fn produce(producer: &BaseProducer<Acknowledged>, topic: &str) -> Result<()> {
    let before = producer.context().0.load(Ordering::Relaxed);
    let record = BaseRecord::to(topic).key("key").payload("value");
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .context("queueing a record")?;
    producer
        .flush(BOUND)
        .context("waiting for a record to be acknowledged")?;
    ensure!(
        producer.context().0.load(Ordering::Relaxed) == before + 1,
        "a record was not acknowledged"
    );
    Ok(())
}

#[tokio::test]
async fn a_broker_that_start_returned_takes_records_at_once() -> Result<()> {
    if embedded_only("testkit: one Kafka broker") {
        return Ok(());
    }
    let cluster = KafkaCluster::shared().await?;
    let config = config(cluster);
    let topic = format!("produced-{}", std::process::id());
    create_topic(&config, &topic, 1).await?;
    produce(&producer(&config)?, &topic)
}

#[tokio::test]
async fn a_sasl_ssl_broker_takes_its_user_and_refuses_a_wrong_password() -> Result<()> {
    if embedded_only("testkit: a Kafka broker with SASL_SSL") {
        return Ok(());
    }
    let cluster = KafkaCluster::start(KafkaOptions {
        sasl_ssl: true,
        ..Default::default()
    })
    .await?;
    let mut config = config(&cluster);
    create_topic(&config, "secret", 1).await?;
    produce(&producer(&config)?, "secret")?;

    config.set("sasl.password", "wrong");
    let stranger = producer(&config)?;
    let refused = tokio::task::spawn_blocking(move || {
        stranger
            .client()
            .fetch_metadata(Some("secret"), Duration::from_secs(3))
            .is_err()
    });
    assert!(refused.await?, "a wrong password was let in");
    Ok(())
}

#[tokio::test]
async fn three_brokers_go_on_without_a_killed_or_paused_one_and_take_it_back() -> Result<()> {
    if embedded_only("testkit: three Kafka brokers") {
        return Ok(());
    }
    let cluster = KafkaCluster::start(KafkaOptions {
        brokers: 3,
        ..Default::default()
    })
    .await?;
    let config = config(&cluster);
    create_topic(&config, "replicated", 3).await?;
    let producer = producer(&config)?;
    produce(&producer, "replicated")?;

    cluster.kill(1)?;
    produce(&producer, "replicated")?;
    cluster.restart(1).await?;

    // Broker 1 in sync again, or pausing another would leave too few.
    let all_in_sync = || async {
        let metadata = producer
            .client()
            .fetch_metadata(Some("replicated"), BOUND)
            .ok()?;
        let topic = metadata.topics().first()?;
        topic
            .partitions()
            .iter()
            .all(|partition| partition.isr().len() == 3)
            .then_some(())
    };
    eventually("all replicas to be in sync", BOUND, all_in_sync).await?;
    cluster.stop_signal(2)?;
    produce(&producer, "replicated")?;
    cluster.cont(2)?;
    produce(&producer, "replicated")
}

#[tokio::test]
async fn a_lone_broker_comes_back_with_its_data_after_kill_9() -> Result<()> {
    if embedded_only("testkit: a killed Kafka broker") {
        return Ok(());
    }
    let cluster = KafkaCluster::start(KafkaOptions {
        own: true,
        ..Default::default()
    })
    .await?;
    let config = config(&cluster);
    create_topic(&config, "survivor", 1).await?;
    let producer = producer(&config)?;
    produce(&producer, "survivor")?;
    cluster.kill(0)?;
    assert!(cluster.kill(0).is_ok(), "killing a dead broker is no error");
    cluster.restart(0).await?;
    assert!(
        cluster.restart(0).await.is_err(),
        "a running broker must not be started twice"
    );
    produce(&producer, "survivor")
}
