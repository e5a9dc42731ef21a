//! Logs and metrics of the process.

use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::Lifecycle;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Human,
}

/// How often histograms are drained.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
const SIZES: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];

/// Starts logging to standard error. `filter` is in the form of `RUST_LOG`: `info,laneway_sink=debug`.
pub fn init_logs(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("reading the log filter '{filter}': write it like info,laneway_sink=debug")
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Human => subscriber.try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the logs: {error}"))?;
    std::panic::set_hook(Box::new(|panic| {
        let at = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a panic");
        tracing::error!(at, backtrace = %std::backtrace::Backtrace::capture(), "panicked: {message}");
    }));
    Ok(())
}

/// Makes the process's recorder. Times are histograms named `…_seconds`, sizes and counts any
/// other histogram. [`upkeep`] has to run beside it.
pub fn init_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| builder.set_buckets(SIZES))
        .and_then(PrometheusBuilder::install_recorder)
        .context("starting the metrics")
}

/// Drains the histograms until the process stops: without its own listener nobody else does.
pub async fn upkeep(metrics: PrometheusHandle, lifecycle: Lifecycle) -> anyhow::Result<()> {
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => return Ok(()),
            () = tokio::time::sleep(UPKEEP_EVERY) => metrics.run_upkeep(),
        }
    }
}
