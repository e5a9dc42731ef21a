//! Websocket fan-out: one stream to a thousand subscribers, a hundred streams to ten each; paced,
//! and as fast as it goes. And what an idle socket takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use laneway_testkit::cpu;
use laneway_tests::tenant::key;

use super::Bench;
use super::side::{Part, Sample, cpu_seconds, print, server};
use crate::load::events::{Laneway, Plain, Target};
use crate::load::sockets::Report;

const FLOOR_TOPIC: &str = "quarantine";
const DEVICES: usize = 100;
const STREAMS: usize = 100;
const TICK: Duration = Duration::from_millis(10);
const IDLE: usize = 5_000;
const SETTLING: Duration = Duration::from_secs(3);

/// What is sent and to how many.
struct Load {
    name: &'static str,
    streams: usize,
    subscribers: usize,
    events: usize,
    /// Events a second; as fast as it goes without.
    rate: Option<usize>,
}

/// What the two sides have in common.
struct Way {
    pid: u32,
    address: String,
    paths: Vec<(String, String)>,
}

enum Source<'a> {
    Laneway(&'a Laneway),
    Plain(&'a Plain),
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    let (targets, keys) = tenants(bench).await?;
    let laneway =
        Laneway::open(&bench.kafka.bootstrap(), &bench.registry, bench.partitions).await?;
    let plain = Plain::open(&bench.kafka.bootstrap(), FLOOR_TOPIC)?;
    let others = ["ingest", "processor"];
    bench.stop(&others)?;
    let bootstrap = bench.kafka.bootstrap();
    let arguments = |port: u16| vec![port.to_string(), bootstrap.clone(), FLOOR_TOPIC.to_owned()];
    let floor = server(bench.folder.path(), "floor-fanout", &arguments).await?;
    let sink = bench.deployment.node("sink")?.process().pid();
    let address = bench.deployment.stream_address()?;
    let seconds = usize::try_from(bench.duration.as_secs())?;
    for load in [
        Load {
            name: "websocket, 1 stream × 1,000 subscribers, 100 events/s",
            streams: 1,
            subscribers: 1000,
            events: 100 * seconds,
            rate: Some(100),
        },
        Load {
            name: "websocket, 1 stream × 1,000 subscribers, burst",
            streams: 1,
            subscribers: 1000,
            events: 4000,
            rate: None,
        },
        Load {
            name: "websocket, 100 streams × 10 subscribers, 10,000 events/s",
            streams: STREAMS,
            subscribers: 10,
            events: 10_000 * seconds,
            rate: Some(10_000),
        },
        Load {
            name: "websocket, 100 streams × 10 subscribers, burst",
            streams: STREAMS,
            subscribers: 10,
            events: 200_000,
            rate: None,
        },
    ] {
        let targets = &targets[..load.streams];
        let paths = |path: &dyn Fn(usize) -> (String, String)| -> Vec<_> {
            (0..load.streams * load.subscribers)
                .map(|n| path(n % load.streams))
                .collect()
        };
        let ours_way = Way {
            pid: sink,
            address: address.clone(),
            paths: paths(&|n| {
                (
                    "/stream?event_types=laneway.position".to_owned(),
                    keys[n].clone(),
                )
            }),
        };
        let floors_way = Way {
            pid: floor.0.pid(),
            address: floor.1.clone(),
            paths: paths(&|n| (format!("/stream/{}", targets[n].tenant), String::new())),
        };
        let (mut ours, mut least) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeat {
            let run = sample(bench, &load, &ours_way, targets, Source::Laneway(&laneway)).await;
            ours.push(run.context(load.name)?);
            let run = sample(bench, &load, &floors_way, targets, Source::Plain(&plain)).await;
            least.push(run.with_context(|| format!("the floor of {}", load.name))?);
        }
        print(load.name, &ours, &least);
    }
    drop(floor);
    // Of processes that have done nothing yet: others have memory left over from before.
    bench.stop(&["sink"])?;
    bench.start_again(&["sink"]).await?;
    let sink = bench.deployment.node("sink")?.process().pid();
    let path = ("/stream?event_types=laneway.window", keys[0].as_str());
    let ours = idle(bench, sink, &address, path).await?;
    let floor = server(bench.folder.path(), "floor-fanout", &arguments).await?;
    let least = idle(bench, floor.0.pid(), &floor.1, ("/stream/idle", "")).await?;
    println!("websocket, an idle subscribed socket: {ours:.1} KiB (floor {least:.1} KiB)");
    bench.start_again(&others).await
}

/// Tenants with a reader's key each.
async fn tenants(bench: &Bench) -> Result<(Vec<Target>, Vec<String>)> {
    let (mut targets, mut keys) = (Vec::new(), Vec::new());
    for stream in 0..STREAMS {
        let slug = format!("stream-{stream}");
        targets.push(bench.tenant(&slug, DEVICES).await?);
        keys.push(key(&bench.deployment, &slug, "stream:read").await?);
    }
    Ok((targets, keys))
}

async fn sample(
    bench: &Bench,
    load: &Load,
    way: &Way,
    targets: &[Target],
    source: Source<'_>,
) -> Result<Sample> {
    let file = bench.folder.path().join("paths");
    std::fs::write(&file, lines(&way.paths))?;
    let deliveries = load.events * load.subscribers;
    let mut part = Part::start(
        "load-sockets",
        [
            way.address.clone(),
            file.display().to_string(),
            deliveries.to_string(),
        ],
    )?;
    part.ready().await?;
    // The handshakes are done; subscriptions take their places in the tail.
    tokio::time::sleep(SETTLING).await;
    let broker = bench.kafka.pid(0)?;
    let before = (cpu_seconds(way.pid)?, cpu_seconds(broker)?);
    send(load, targets, &source).await?;
    let (report, used) = part.end().await?;
    let report: Report = serde_json::from_str(&report).context("reading the load's report")?;
    Ok(Sample {
        events: report.events,
        seconds: report.seconds,
        program: cpu_seconds(way.pid)? - before.0,
        broker: cpu_seconds(broker)? - before.1,
        load: used,
        p50_us: report.p50_us,
        p99_us: report.p99_us,
    })
}

async fn send(load: &Load, targets: &[Target], source: &Source<'_>) -> Result<()> {
    let step = match load.rate {
        Some(rate) => (rate as f64 * TICK.as_secs_f64()).ceil() as usize,
        None => 2000,
    };
    let mut queued = Vec::new();
    let began = Instant::now();
    for (tick, first) in (0..load.events).step_by(step).enumerate() {
        if load.rate.is_some() {
            tokio::time::sleep_until((began + TICK * u32::try_from(tick)?).into()).await;
        }
        let numbers = first..(first + step).min(load.events);
        match source {
            Source::Laneway(laneway) => queued.push(laneway.append(targets, numbers)?),
            Source::Plain(plain) => plain.append(targets, numbers)?,
        }
    }
    match source {
        Source::Laneway(_) => Ok(try_join_all(queued).await.map(drop)?),
        Source::Plain(plain) => plain.flush(),
    }
}

/// KiB of resident memory that an idle socket adds.
async fn idle(bench: &Bench, pid: u32, address: &str, path: (&str, &str)) -> Result<f64> {
    let file = bench.folder.path().join("idle");
    let paths = vec![(path.0.to_owned(), path.1.to_owned()); IDLE];
    std::fs::write(&file, lines(&paths))?;
    let before = cpu::usage(pid)?.resident_bytes;
    let mut part = Part::start(
        "hold-sockets",
        [address.to_owned(), file.display().to_string()],
    )?;
    part.ready().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = cpu::usage(pid)?.resident_bytes;
    part.end().await?;
    Ok((after as f64 - before as f64) / IDLE as f64 / 1024.0)
}

fn lines(paths: &[(String, String)]) -> String {
    paths
        .iter()
        .map(|(path, key)| format!("{path} {key}\n"))
        .collect()
}
