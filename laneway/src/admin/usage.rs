//! What tenants use.

use clap::Args;
use http::Method;

use super::ask::Api;
use super::command::Of;
use crate::client::segment;

const COLUMNS: [&str; 8] = [
    "day",
    "events",
    "bytes",
    "devices",
    "deliveries",
    "sockets_peak",
    "socket_seconds",
    "storage_bytes",
];

#[derive(Debug, Args)]
pub struct Usage {
    #[command(flatten)]
    pub of: Of,
    /// First day (UTC), as 2026-11-21. Default: 29 days before the last one.
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Last day. Default: today.
    #[arg(long, value_name = "DAY")]
    pub to: Option<String>,
    /// Print CSV.
    #[arg(long)]
    pub csv: bool,
    /// Of all tenants: `--day` says which day.
    #[arg(long, conflicts_with_all = ["tenant", "from", "to", "csv"])]
    pub all: bool,
    /// The day. Default: today.
    #[arg(long, value_name = "DAY", requires = "all")]
    pub day: Option<String>,
}

pub async fn run(api: &mut Api, usage: Usage) -> anyhow::Result<()> {
    if usage.all {
        let mut columns = vec!["slug"];
        columns.extend(COLUMNS);
        let path = with("/operator/usage", &[("day", usage.day.as_deref())]);
        return api.list(&path, &columns).await;
    }
    let days = [
        ("from", usage.from.as_deref()),
        ("to", usage.to.as_deref()),
        ("format", usage.csv.then_some("csv")),
    ];
    let path = with(&usage.of.path("/usage"), &days);
    if usage.csv {
        print!("{}", api.text(&path).await?);
        return Ok(());
    }
    let answer = api.ask(Method::GET, &path, None).await?;
    api.rows(&answer, "days", &COLUMNS)
}

/// A path with those parameters that are given.
fn with(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given: Vec<String> = parameters
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment((*value)?))))
        .collect();
    if given.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", given.join("&"))
    }
}
