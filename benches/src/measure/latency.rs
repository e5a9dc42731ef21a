//! From a device's request to a subscriber's socket, against the same hops without the work:
//! ingest, a transaction of its record and its offset, a reader at read_committed, a socket.

use std::time::Duration;

use anyhow::{Context, Result};
use laneway_tests::tenant::key;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::side::{Part, Sample, median, print, server};
use super::{Bench, tokens};
use crate::load::sockets::Report;
use crate::{clock, floor};

/// Fixes a second.
const RATE: u64 = 1_000;
const DEVICES: usize = 64;
const UNIT: usize = 25_000;
const IN: &str = "floor-hops-in";
const OUT: &str = "floor-hops-out";
const RAW: &str = "floor-raw";
const POLL: Duration = Duration::from_millis(100);

pub async fn run(bench: &mut Bench) -> Result<()> {
    let slug = "latency";
    bench.tenant(slug, DEVICES).await?;
    let admin = key(&bench.deployment, slug, "tenant:admin").await?;
    let reader = key(&bench.deployment, slug, "stream:read").await?;
    let devices = (0..DEVICES).map(|device| format!("l{device}"));
    let tokens = tokens(&bench.deployment.control, &admin, devices).await?;
    let tokens_file = bench.folder.path().join("latency-tokens");
    std::fs::write(&tokens_file, tokens)?;
    for topic in [IN, OUT, RAW] {
        bench.create_topic(topic).await?;
    }
    let bootstrap = bench.kafka.bootstrap();
    let (_ingest, floor_ingest) = server(bench.folder.path(), "floor-ingest", |port| {
        vec![
            port.to_string(),
            bootstrap.clone(),
            IN.to_owned(),
            "5".to_owned(),
        ]
    })
    .await?;
    let (_fanout, floor_stream) = server(bench.folder.path(), "floor-fanout", |port| {
        vec![port.to_string(), bootstrap.clone(), OUT.to_owned()]
    })
    .await?;
    let _transact = Part::start(
        "floor-transact",
        [
            bootstrap.as_str(),
            "floor-hops",
            IN,
            OUT,
            &usize::MAX.to_string(),
            &UNIT.to_string(),
            "--follow",
        ],
    )?;
    // The floor's group forms.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let address = |base: &str| base.trim_start_matches("http://").to_owned();
    let ours = (
        address(bench.deployment.ingest.base()),
        bench.deployment.stream_address()?,
        format!("/stream?event_types=laneway.position {reader}\n"),
    );
    let floor = (floor_ingest, floor_stream, "/stream/all none\n".to_owned());
    let tokens = tokens_file.display().to_string();
    let (mut of_ours, mut of_floor, mut of_raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        of_ours.push(sample(bench, &ours, &tokens).await?);
        of_floor.push(sample(bench, &floor, &tokens).await?);
        let (bootstrap, seconds) = (bootstrap.clone(), bench.duration.as_secs());
        of_raw.push(tokio::task::spawn_blocking(move || raw(&bootstrap, seconds)).await??);
    }
    print("device to websocket, 1,000 events/s", &of_ours, &of_floor);
    let p50 = median(of_ours.iter().map(|s| s.p50_us as f64).collect());
    let raw = median(of_raw);
    println!(
        "a raw produce-to-consume at the same rate: p50 {raw:.0} µs, {:.1} times it",
        p50 / raw
    );
    Ok(())
}

async fn sample(
    bench: &Bench,
    (ingest, stream, path): &(String, String, String),
    tokens: &str,
) -> Result<Sample> {
    let file = bench.folder.path().join("latency-paths");
    std::fs::write(&file, path)?;
    let seconds = bench.duration.as_secs();
    let connections = u64::try_from(DEVICES)?;
    let expected = RATE * seconds / connections * connections;
    let mut sockets = Part::start(
        "load-sockets",
        [
            stream.clone(),
            file.display().to_string(),
            expected.to_string(),
            "--latencies".to_owned(),
        ],
    )?;
    sockets.ready().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let load = Part::start(
        "load-paced",
        [
            ingest.clone(),
            tokens.to_owned(),
            RATE.to_string(),
            seconds.to_string(),
        ],
    )?;
    load.end().await?;
    let (report, used) = sockets.end().await?;
    let report: Report = serde_json::from_str(&report).context("reading the load's report")?;
    Ok(Sample {
        events: report.events,
        seconds: report.seconds,
        program: 0.0,
        broker: 0.0,
        load: used,
        p50_us: report.p50_us,
        p99_us: report.p99_us,
    })
}

/// Median microseconds from producing a record to consuming it.
fn raw(bootstrap: &str, seconds: u64) -> Result<f64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "raw")
        .create()?;
    floor::assign(&consumer, RAW, rdkafka::Offset::End)?;
    consumer.poll(Duration::from_secs(1));
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()?;
    let count = RATE * seconds;
    let sending = std::thread::spawn(move || {
        for number in 0..count {
            let sent = clock::second_of_day().to_string();
            let key = number.to_string();
            // What is not sent is missed below.
            let _ = producer.send(BaseRecord::to(RAW).key(&key).payload(&sent));
            std::thread::sleep(Duration::from_secs_f64(1.0 / RATE as f64));
        }
        let _ = producer.flush(Duration::from_secs(10));
    });
    let mut latencies = Vec::new();
    while latencies.len() < usize::try_from(count)? * 9 / 10 {
        let Some(message) = consumer.poll(POLL) else {
            continue;
        };
        let message = message?;
        let Some(Ok(sent)) = message.payload_view::<str>() else {
            continue;
        };
        latencies.push((clock::second_of_day() - sent.parse::<f64>()?) * 1e6);
    }
    let _ = sending.join();
    Ok(median(latencies))
}
