//! Ingest against hyper + rdkafka: single requests over 64 and 512 connections, and batches of 100.

use anyhow::{Context, Result, ensure};
use laneway_testkit::LanewayProcess;
use laneway_tests::tenant::key;

use super::side::{Part, Sample, cpu_seconds, print, server};
use super::{Bench, tokens};
use crate::load::http::Report;

const TENANTS: usize = 10;
const DEVICES: usize = 1_000;
/// The same for both sides.
const LINGER_MS: &str = "5";
/// A topic with as many partitions, which nothing reads while ingest is measured.
const FLOOR_TOPIC: &str = "quarantine";

pub async fn run(bench: &mut Bench) -> Result<()> {
    let tokens = tokens_file(bench).await?;
    let others = ["processor", "sink"];
    bench.stop(&others)?;
    let floor = start_floor(bench).await?;
    let pid = bench.deployment.node("ingest")?.process().pid();
    let base = bench.deployment.ingest.base();
    let address = base.trim_start_matches("http://").to_owned();
    // A broker that has just started compiles its code for whoever comes first.
    for (pid, address) in [(pid, &address), (floor.0.pid(), &floor.1)] {
        sample(bench, pid, address, &tokens, 512, 1).await?;
    }
    for (what, connections, batch) in [
        ("ingest, single, 64 connections", 64, 1),
        ("ingest, single, 512 connections", 512, 1),
        ("ingest, batches of 100", 64, 100),
    ] {
        let (mut ours, mut least) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeat {
            ours.push(sample(bench, pid, &address, &tokens, connections, batch).await?);
            least.push(sample(bench, floor.0.pid(), &floor.1, &tokens, connections, batch).await?);
        }
        print(what, &ours, &least);
    }
    bench.start_again(&others).await
}

/// A file of `device token` lines.
async fn tokens_file(bench: &Bench) -> Result<std::path::PathBuf> {
    let mut lines = String::new();
    for tenant in 0..TENANTS {
        let slug = format!("bench-{tenant}");
        bench.deployment.admin(&["tenant", "create", &slug]).await?;
        let admin = key(&bench.deployment, &slug, "tenant:admin").await?;
        let devices = (0..DEVICES / TENANTS).map(|device| format!("t{tenant}-d{device}"));
        lines += &tokens(&bench.deployment.control, &admin, devices).await?;
    }
    let file = bench.folder.path().join("tokens");
    std::fs::write(&file, lines)?;
    Ok(file)
}

/// The floor as a process of its own, and its address.
async fn start_floor(bench: &Bench) -> Result<(LanewayProcess, String)> {
    let arguments = |port: u16| {
        vec![
            port.to_string(),
            bench.kafka.bootstrap(),
            FLOOR_TOPIC.to_owned(),
            LINGER_MS.to_owned(),
        ]
    };
    server(bench.folder.path(), "floor-ingest", arguments).await
}

async fn sample(
    bench: &Bench,
    pid: u32,
    address: &str,
    tokens: &std::path::Path,
    connections: usize,
    batch: usize,
) -> Result<Sample> {
    let broker = bench.kafka.pid(0)?;
    let before = (cpu_seconds(pid)?, cpu_seconds(broker)?);
    let load = Part::start(
        "load-http",
        [
            address.to_owned(),
            tokens.display().to_string(),
            connections.to_string(),
            batch.to_string(),
            bench.duration.as_secs().to_string(),
        ],
    )?;
    let (report, load) = load.end().await?;
    let report: Report = serde_json::from_str(&report).context("reading the load's report")?;
    ensure!(
        report.refused * 100 <= report.events,
        "{} events were refused at {address}",
        report.refused
    );
    Ok(Sample {
        events: report.events,
        seconds: report.seconds,
        program: cpu_seconds(pid)? - before.0,
        broker: cpu_seconds(broker)? - before.1,
        load,
        p50_us: report.p50_us,
        p99_us: report.p99_us,
    })
}
