//! The embedded default: batches over HTTP into `laneway all`, everything on one machine.

use std::time::Duration;

use anyhow::{Context, Result};
use laneway_testkit::laneway_binary;
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::key;

use super::side::{Part, cpu_seconds, median};
use super::tokens;
use crate::load::http::Report;

const DEVICES: usize = 200;
const CONNECTIONS: usize = 16;
const BATCH: usize = 1_000;
/// At which no answer is to take longer than 100 ms.
const ASKED_RATE: u64 = 150_000;

pub async fn run(duration: Duration, repeat: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    deployment.admin(&["tenant", "create", "embedded"]).await?;
    let admin = key(&deployment, "embedded", "tenant:admin").await?;
    let devices = (0..DEVICES).map(|device| format!("e{device}"));
    let tokens = tokens(&deployment.control, &admin, devices).await?;
    let file = folder.path().join("tokens");
    std::fs::write(&file, tokens)?;
    let address = deployment
        .ingest
        .base()
        .trim_start_matches("http://")
        .to_owned();
    let pid = deployment.node("all")?.process().pid();
    for rate in [Some(ASKED_RATE), None] {
        let (mut rates, mut costs, mut worst) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..repeat {
            let before = cpu_seconds(pid)?;
            let mut arguments = vec![
                address.clone(),
                file.display().to_string(),
                CONNECTIONS.to_string(),
                BATCH.to_string(),
                duration.as_secs().to_string(),
            ];
            arguments.extend(rate.map(|rate| format!("--rate={rate}")));
            let (report, _) = Part::start("load-http", arguments)?.end().await?;
            let report: Report =
                serde_json::from_str(&report).context("reading the load's report")?;
            rates.push(report.events as f64 / report.seconds);
            costs.push((cpu_seconds(pid)? - before) * 1e6 / report.events as f64);
            worst.push(report.max_us as f64 / 1000.0);
        }
        let paced = rate.map_or("as fast as they are answered".to_owned(), |rate| {
            format!("{rate} events/s asked for")
        });
        println!(
            "embedded, batches of {BATCH} over {CONNECTIONS} connections, {paced}: {:.0} durable events/s, \
             {:.2} CPU-s/M (all roles), slowest answer {:.0} ms",
            median(rates),
            median(costs),
            median(worst),
        );
    }
    deployment.stop().await
}
