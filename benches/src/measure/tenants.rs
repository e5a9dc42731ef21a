//! Many tenants: what it costs to make one, and how a role starts with all of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use http::{HeaderName, Method, header};
use laneway_testkit::cpu;
use laneway_tests::client::Client;
use serde_json::json;

use super::Bench;

const TENANTS: usize = 10_000;
/// Of each tenant.
const DEVICES: usize = 100;
/// Requests at a time.
const AT_ONCE: usize = 4;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let operator = bench.deployment.admin(&["operator-key", "create"]).await?;
    let operator = operator["key"].as_str().context("a key")?.to_owned();
    let control = bench.deployment.control.clone();

    // One after the other: what a caller waits.
    let alone = make(&control, &operator, 0..200, 1).await?;
    let began = Instant::now();
    let together = make(&control, &operator, 200..TENANTS, AT_ONCE).await?;
    println!(
        "a tenant's creation: p50 {:.1} ms, p99 {:.1} ms alone; p50 {:.1} ms, p99 {:.1} ms with {AT_ONCE} at a time, {:.0}/s",
        ms(&alone, 0.5),
        ms(&alone, 0.99),
        ms(&together, 0.5),
        ms(&together, 0.99),
        (TENANTS - 200) as f64 / began.elapsed().as_secs_f64(),
    );

    let began = Instant::now();
    let lines: String = (0..DEVICES).map(|d| format!("truck-{d}\n")).collect();
    let body = Bytes::from(format!("id\n{lines}"));
    stream::iter((0..TENANTS).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |tenant| {
            let (control, operator, body) = (&control, &operator, body.clone());
            async move { register(control, operator, tenant, body).await }
        })
        .await?;
    println!(
        "{TENANTS} tenants' {DEVICES} devices each: {:.0} devices/s",
        (TENANTS * DEVICES) as f64 / began.elapsed().as_secs_f64()
    );

    // Control reads the same; a second one would need a folder of its own for its local socket.
    for role in ["ingest", "processor", "sink"] {
        let began = Instant::now();
        bench.deployment.add(role, "another").await?;
        let took = began.elapsed();
        let node = bench.deployment.nodes.last_mut().context("a node")?;
        let resident = cpu::usage(node.process().pid())?.resident_bytes;
        println!(
            "{role} with {TENANTS} tenants and {} devices: ready after {:.1} s, {} MB resident",
            TENANTS * DEVICES,
            took.as_secs_f64(),
            resident / 1_000_000
        );
    }
    Ok(())
}

/// How long each took, in microseconds.
async fn make(
    control: &Client,
    operator: &str,
    tenants: std::ops::Range<usize>,
    at_once: usize,
) -> Result<Histogram<u64>> {
    let took: Vec<Duration> = stream::iter(tenants)
        .map(|tenant| async move {
            let body = json!({"slug": format!("tenant-{tenant}"), "lanes": 2, "owner": "Ada"});
            let began = Instant::now();
            control.post("/tenants", operator, &body).await?.ok()?;
            anyhow::Ok(began.elapsed())
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let mut histogram = Histogram::new(3)?;
    for one in took {
        histogram.record(u64::try_from(one.as_micros())?)?;
    }
    Ok(histogram)
}

async fn register(control: &Client, operator: &str, tenant: usize, body: Bytes) -> Result<()> {
    let path = format!("/tenants/tenant-{tenant}/devices/bulk");
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/csv")];
    let answer = control
        .send_with(Method::POST, &path, operator, &headers, body)
        .await?;
    ensure!(answer.status.is_success(), "{answer:?}");
    Ok(())
}

fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}
