//! Webhooks: one signed POST an event, in the order of each device.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use laneway_tests::client::Client;
use laneway_tests::tenant::key;
use serde_json::json;

use super::Bench;
use super::side::{Part, Sample, cpu_seconds, print, server};
use crate::load::events::{Laneway, Plain, Target};

const FLOOR_TOPIC: &str = "quarantine";
const EVENTS: usize = 50_000;
const DEVICES: usize = 10_000;
/// Attempts in flight, on both sides.
const CONNECTIONS: usize = 64;
const STEP: usize = 5_000;
const BOUND: Duration = Duration::from_secs(120);

pub async fn run(bench: &mut Bench) -> Result<()> {
    let (receiver, address) = server(bench.folder.path(), "load-receiver", |port| {
        vec![port.to_string()]
    })
    .await?;
    let count = Client::new(format!("http://{address}"));
    let target = bench.tenant("hooks", DEVICES).await?;
    let admin = key(&bench.deployment, "hooks", "tenant:admin").await?;
    let destination = json!({ "kind": "webhook", "url": format!("http://{address}/hook") });
    let control = &bench.deployment.control;
    control
        .post("/destinations", &admin, &destination)
        .await?
        .ok()?;
    let laneway =
        Laneway::open(&bench.kafka.bootstrap(), &bench.registry, bench.partitions).await?;
    let plain = Plain::open(&bench.kafka.bootstrap(), FLOOR_TOPIC)?;
    let others = ["ingest", "processor"];
    bench.stop(&others)?;
    let sink = bench.deployment.node("sink")?.process().pid();
    let targets = [target];
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for round in 0..bench.repeat {
        let before = counted(&count).await?;
        let numbers = round * EVENTS..(round + 1) * EVENTS;
        let used = (cpu_seconds(sink)?, cpu_seconds(receiver.pid())?);
        let began = Instant::now();
        append(&laneway, &targets, numbers).await?;
        while counted(&count).await? < before + EVENTS as u64 {
            ensure!(began.elapsed() < BOUND, "not all webhooks came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ours.push(Sample {
            events: EVENTS as u64,
            seconds: began.elapsed().as_secs_f64(),
            program: cpu_seconds(sink)? - used.0,
            broker: 0.0,
            load: cpu_seconds(receiver.pid())? - used.1,
            p50_us: 0,
            p99_us: 0,
        });
        least.push(floor(bench, &plain, &targets, round, (receiver.pid(), &address)).await?);
    }
    print("webhooks", &ours, &least);
    bench.start_again(&others).await
}

async fn append(
    laneway: &Laneway,
    targets: &[Target],
    numbers: std::ops::Range<usize>,
) -> Result<()> {
    let queued: Result<Vec<_>> = numbers
        .clone()
        .step_by(STEP)
        .map(|first| laneway.append(targets, first..(first + STEP).min(numbers.end)))
        .collect();
    Ok(try_join_all(queued?).await.map(drop)?)
}

async fn floor(
    bench: &Bench,
    plain: &Plain,
    targets: &[Target],
    round: usize,
    (receiver, address): (u32, &str),
) -> Result<Sample> {
    let topic = format!("floor-hooks-{round}");
    bench.create_topic(&topic).await?;
    let plain = plain.of(&topic);
    plain.append(targets, 0..EVENTS)?;
    plain.flush()?;
    let used = cpu_seconds(receiver)?;
    let began = Instant::now();
    let part = Part::start(
        "floor-webhook",
        [
            bench.kafka.bootstrap(),
            topic,
            address.to_owned(),
            CONNECTIONS.to_string(),
            EVENTS.to_string(),
        ],
    )?;
    let (_, program) = part.end().await?;
    Ok(Sample {
        events: EVENTS as u64,
        seconds: began.elapsed().as_secs_f64(),
        program,
        broker: 0.0,
        load: cpu_seconds(receiver)? - used,
        p50_us: 0,
        p99_us: 0,
    })
}

async fn counted(count: &Client) -> Result<u64> {
    let reply = count.get("/count", "").await?;
    reply.text.parse().context("the receiver's count")
}
