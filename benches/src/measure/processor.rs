//! The processor against the raw transactional loop: both drain the same backlog of fixes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use laneway_tests::tenant::key;
use serde_json::json;
use tokio::process::Command;

use super::Bench;
use super::side::{Sample, cpu_seconds, print};

const EVENTS: usize = 400_000;
const DEVICES: usize = 10_000;
const TENANTS: usize = 10;
const BATCH: usize = 1_000;
/// The units that the processor makes under load.
const UNIT: usize = 25_000;
const BOUND: Duration = Duration::from_secs(300);

pub async fn run(bench: &mut Bench) -> Result<()> {
    let keys = tenants(bench).await?;
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for round in 0..bench.repeat {
        bench.deployment.node("processor")?.kill()?;
        backlog(bench, &keys, round).await?;
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
        for device in 0..DEVICES / TENANTS {
            let body = json!({ "id": format!("d{device}") });
            bench
                .deployment
                .control
                .post("/devices", &admin, &body)
                .await?
                .ok()?;
        }
        keys.push(key(&bench.deployment, &slug, "location:write").await?);
    }
    Ok(keys)
}

/// Fixes of every device, through ingest: a second apart, so that windows close on the way.
async fn backlog(bench: &Bench, keys: &[String], round: usize) -> Result<()> {
    let per_device = EVENTS / DEVICES;
    for step in 0..per_device {
        for key in keys {
            for first in (0..DEVICES / TENANTS).step_by(BATCH) {
                let at = 1_704_067_200_000_i64 + ((round * per_device + step) * 5_000) as i64;
                let fixes: Vec<_> = (first..(first + BATCH).min(DEVICES / TENANTS))
                    .map(|d| {
                        json!({ "device_id": format!("d{d}"), "recorded_at": at, "lat": 52.5 + step as f64 / 1e4,
                                "lon": 13.4, "speed": 8.25 })
                    })
                    .collect();
                let body = json!({ "fixes": fixes });
                bench
                    .deployment
                    .ingest
                    .post("/location/update", key, &body)
                    .await?
                    .ok()?;
            }
        }
    }
    Ok(())
}

async fn floor(bench: &Bench, round: usize) -> Result<Sample> {
    let broker = bench.kafka.pid(0)?;
    let broker_before = cpu_seconds(broker)?;
    let child = Command::new(std::env::current_exe()?)
        .args([
            "floor-transact",
            &bench.kafka.bootstrap(),
            &format!("floor-{round}"),
        ])
        .args([
            "location-updates",
            "quarantine",
            &EVENTS.to_string(),
            &UNIT.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the transactional floor")?;
    let pid = child.id().context("the floor has ended at once")?;
    let watch = tokio::spawn(async move {
        let mut used = 0.0;
        while let Ok(seconds) = cpu_seconds(pid) {
            used = seconds;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        used
    });
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "the transactional floor failed");
    let seconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    Ok(Sample {
        events: EVENTS as u64,
        seconds,
        program: watch.await?,
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
    let before = (cpu_seconds(pid)?, cpu_seconds(broker)?, lag(bench).await?);
    let began = Instant::now();
    loop {
        let left = lag(bench).await?;
        if left == 0 {
            break;
        }
        ensure!(
            began.elapsed() < BOUND,
            "{left} records are left after {BOUND:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
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

/// Fixes that the processor has not committed.
async fn lag(bench: &Bench) -> Result<u64> {
    let answer = bench.deployment.admin(&["lag"]).await?;
    let lanes = answer["lanes"]
        .as_array()
        .or_else(|| answer.as_array())
        .context("`admin lag` lists no lanes")?;
    Ok(lanes
        .iter()
        .filter(|l| l["group"] == "processor" && l["topic"] == "location-updates")
        .filter_map(|l| l["lag"].as_u64())
        .sum())
}
