//! What an operator sees of a running deployment.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{laneway_binary, trace, wait};
use laneway_tests::deployment::Deployment;
use laneway_tests::recompute::recompute;
use laneway_tests::sender::{Pace, Sending};
use laneway_tests::tenant::Tenant;

const BOUND: Duration = Duration::from_secs(180);
/// The processor reads two topics, sink and projection one each, metering three: of 24 lanes.
const LANES: usize = 7 * 24;

#[tokio::test(flavor = "multi_thread")]
async fn lag_and_requests_are_told_without_naming_devices_and_not_in_public() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    let trace = trace::generated(2, 50, 3);
    let expected = recompute(&trace);
    let tenant = Tenant::create(&deployment, "acme", expected.keys()).await?;
    let pace = Pace {
        batch: 10,
        concurrency: 2,
        rate: None,
    };
    let mut sending = Sending::new(&deployment, pace);
    sending.begin(&tenant, trace);
    sending.all().await?;
    wait::until("everything to arrive", BOUND, || async {
        tenant
            .subscriber
            .with_tally(|tally| tally.is_complete(&expected))
    })
    .await?;

    let ops = deployment.node("all")?.ops();
    wait::until("the lag to be measured as none", BOUND, || async {
        let metrics = ops.get("/metrics", "").await;
        metrics.is_ok_and(|m| {
            let lag: Vec<_> = m
                .text
                .lines()
                .filter(|l| l.starts_with("laneway_lag_records{"))
                .collect();
            lag.len() == LANES && lag.iter().all(|l| l.ends_with(" 0"))
        })
    })
    .await?;
    let metrics = ops.get("/metrics", "").await?.text;
    // The tenant has made its two devices and a token for each, and sent ten batches at least.
    for (endpoint, least) in [("devices", 2), ("credentials", 2), ("location.update", 10)] {
        let requests = requests_of(&metrics, endpoint);
        ensure!(
            requests >= least,
            "{requests} requests to {endpoint} are counted, {least} were made:\n{metrics}"
        );
    }
    for device in expected.keys() {
        ensure!(
            !metrics.contains(device.as_str()),
            "{device} is named in the metrics"
        );
    }

    let lag = deployment.admin(&["lag"]).await?;
    let lanes = lag["lanes"].as_array().context("lanes")?;
    ensure!(lanes.len() == LANES, "{} lanes", lanes.len());
    let public = deployment.control.get("/metrics", "").await?;
    ensure!(
        public.status.is_client_error(),
        "metrics are public: {}",
        public.status
    );
    ensure!(!public.text.contains("laneway_"), "metrics are public");
    deployment.stop().await
}

/// Of all tenants, named or not.
fn requests_of(metrics: &str, endpoint: &str) -> u64 {
    let label = format!("endpoint=\"{endpoint}\"");
    metrics
        .lines()
        .filter(|line| line.starts_with("api_requests_total{") && line.contains(&label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
