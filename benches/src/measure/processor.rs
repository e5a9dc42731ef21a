//! The processor against the raw transactional loop: both drain the same backlog of fixes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use laneway_tests::client::Client;
use laneway_tests::tenant::key;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};
use serde_json::json;

use super::Bench;
use super::side::{Part, Sample, cpu_seconds, print};

const EVENTS: usize = 400_000;
const DEVICES: usize = 10_000;
const TENANTS: usize = 10;
const BATCH: usize = 1_000;
/// The units that the processor makes under load.
const UNIT: usize = 25_000;
const BOUND: Duration = Duration::from_secs(300);
const INPUT: &str = "location-updates";
/// Requests under way while a measurement is prepared.
const REQUESTS: usize = 32;
const ANSWER: Duration = Duration::from_secs(10);

pub async fn run(bench: &mut Bench) -> Result<()> {
    let keys = tenants(bench).await?;
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for round in 0..bench.repeat {
        bench.stop(&["processor", "sink"])?;
        if round > 0 {
            bench.start_again(&["ingest"]).await?;
        }
        backlog(bench, &keys, round).await?;
        bench.stop(&["ingest"])?;
        least.push(floor(bench, round).await?);
        ours.push(drain(bench).await?);
    }
    print("processor", &ours, &least);
    Ok(())
}

/// A key of each tenant that may send for its devices.
async fn tenants(bench: &Bench) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for tenant in 0..TENANTS {
        let slug = format!("load-{tenant}");
        bench.deployment.admin(&["tenant", "create", &slug]).await?;
        let admin = key(&bench.deployment, &slug, "tenant:admin").await?;
        register(&bench.deployment.control, &admin, DEVICES / TENANTS).await?;
        keys.push(key(&bench.deployment, &slug, "location:write").await?);
    }
    Ok(keys)
}

/// Devices `d0` and up, many requests at a time.
async fn register(control: &Client, admin: &str, devices: usize) -> Result<()> {
    futures_util::stream::iter(0..devices)
        .map(|device| async move {
            let body = json!({ "id": format!("d{device}") });
            control.post("/devices", admin, &body).await?.ok()
        })
        .buffer_unordered(REQUESTS)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// Fixes of every device, through ingest: a second apart, so that windows close on the way.
async fn backlog(bench: &Bench, keys: &[String], round: usize) -> Result<()> {
    let per_device = EVENTS / DEVICES;
    for step in 0..per_device {
        let at = 1_704_067_200_000_i64 + ((round * per_device + step) * 5_000) as i64;
        let latitude = 52.5 + step as f64 / 1e4;
        let bodies = keys.iter().flat_map(|key| {
            (0..DEVICES / TENANTS)
                .step_by(BATCH)
                .map(move |first| (key, first))
        });
        futures_util::stream::iter(bodies)
            .map(|(key, first)| async move {
                let fixes: Vec<_> = (first..(first + BATCH).min(DEVICES / TENANTS))
                    .map(|d| {
                        json!({ "device_id": format!("d{d}"), "recorded_at": at, "lat": latitude,
                                "lon": 13.4, "speed": 8.25 })
                    })
                    .collect();
                let ingest = &bench.deployment.ingest;
                ingest
                    .post("/location/update", key, &json!({ "fixes": fixes }))
                    .await?
                    .ok()
            })
            .buffer_unordered(REQUESTS)
            .try_for_each(|_| async { Ok(()) })
            .await?;
    }
    Ok(())
}

async fn floor(bench: &Bench, round: usize) -> Result<Sample> {
    let broker = bench.kafka.pid(0)?;
    let broker_before = cpu_seconds(broker)?;
    let part = Part::start(
        "floor-transact",
        [
            bench.kafka.bootstrap(),
            format!("floor-{round}"),
            INPUT.to_owned(),
            "quarantine".to_owned(),
            EVENTS.to_string(),
            UNIT.to_string(),
        ],
    )?;
    let (seconds, program) = part.end().await?;
    let seconds: f64 = seconds.trim().parse()?;
    Ok(Sample {
        events: EVENTS as u64,
        seconds,
        program,
        broker: cpu_seconds(broker)? - broker_before,
        load: 0.0,
        p50_us: 0,
        p99_us: 0,
    })
}

/// Starts the processor on the backlog and waits until it has none.
async fn drain(bench: &mut Bench) -> Result<Sample> {
    let broker = bench.kafka.pid(0)?;
    bench.deployment.node("processor")?.restart()?;
    bench.deployment.node("processor")?.ready().await?;
    let pid = bench.deployment.node("processor")?.process().pid();
    let lag = Lag::of(bench)?;
    let before = (cpu_seconds(pid)?, cpu_seconds(broker)?, lag.left()?);
    let began = Instant::now();
    loop {
        let left = lag.left()?;
        if left == 0 {
            break;
        }
        ensure!(
            began.elapsed() < BOUND,
            "{left} records are left after {BOUND:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Sample {
        events: before.2,
        seconds: began.elapsed().as_secs_f64(),
        program: cpu_seconds(pid)? - before.0,
        broker: cpu_seconds(broker)? - before.1,
        load: 0.0,
        p50_us: 0,
        p99_us: 0,
    })
}

/// Fixes that the processor has not committed, as the brokers count them.
struct Lag {
    consumer: BaseConsumer,
    committed: TopicPartitionList,
    end: i64,
}

impl Lag {
    fn of(bench: &Bench) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bench.kafka.bootstrap())
            .set("group.id", "processor")
            .create()?;
        let mut committed = TopicPartitionList::new();
        let mut end = 0;
        for partition in 0..i32::try_from(bench.partitions)? {
            committed.add_partition(INPUT, partition);
            end += consumer.fetch_watermarks(INPUT, partition, ANSWER)?.1;
        }
        Ok(Lag {
            consumer,
            committed,
            end,
        })
    }

    fn left(&self) -> Result<u64> {
        let offsets = self
            .consumer
            .committed_offsets(self.committed.clone(), ANSWER)?;
        let done: i64 = offsets
            .elements()
            .iter()
            .filter_map(|e| e.offset().to_raw())
            .filter(|offset| *offset > 0)
            .sum();
        Ok(u64::try_from(self.end - done)?)
    }
}
