//! `laneway admin quarantine`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::ask::Api;
use crate::client::segment;

/// Records that one request redrives.
const STEP: usize = 1000;
const COLUMNS: [&str; 6] = [
    "position",
    "reason",
    "key",
    "topic",
    "received_at",
    "detail",
];

#[derive(Debug, Subcommand)]
pub enum Quarantine {
    List {
        #[command(flatten)]
        matching: Matching,
    },
    /// Send them again to where they came from: those at the positions, or all that match. One
    /// whose tenant or device was not known is judged by what is known now. Repeating is safe.
    Redrive {
        /// As listed.
        #[arg(conflicts_with = "Matching", required_unless_present = "Matching")]
        positions: Vec<String>,
        #[command(flatten)]
        matching: Matching,
    },
}

/// Which records of the quarantine.
#[derive(Debug, Args)]
pub struct Matching {
    /// Code of the reason, such as unknown-device.
    #[arg(long)]
    pub reason: Option<String>,
    /// Tenant in their key, by slug or id.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Topic that they came from.
    #[arg(long)]
    pub topic: Option<String>,
    /// Partition that they were refused in.
    #[arg(long)]
    pub partition: Option<u32>,
    /// Received at this time (RFC 3339) or after it.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

pub async fn run(api: &mut Api, command: Quarantine) -> anyhow::Result<()> {
    match command {
        Quarantine::List { matching } => {
            let fields = fields(&matching);
            let mut path = "/operator/quarantine".to_owned();
            for (i, (name, value)) in fields.iter().enumerate() {
                let text = value.as_str().map_or_else(|| value.to_string(), segment);
                let sign = if i == 0 { '?' } else { '&' };
                path.push_str(&format!("{sign}{name}={text}"));
            }
            api.list(&path, &COLUMNS).await
        }
        Quarantine::Redrive {
            positions,
            matching,
        } => redrive(api, &positions, fields(&matching)).await,
    }
}

/// In as many requests as it takes.
async fn redrive(
    api: &mut Api,
    positions: &[String],
    mut matching: Map<String, Value>,
) -> anyhow::Result<()> {
    let mut redriven = 0;
    let mut left = Vec::new();
    let mut take = |answer: &mut Value| {
        redriven += answer["redriven"].as_u64().unwrap_or_default();
        left.append(answer["left"].as_array_mut().unwrap_or(&mut Vec::new()));
    };
    for some in positions.chunks(STEP) {
        let body = json!({ "positions": some });
        take(&mut ask(api, &body).await?);
    }
    if positions.is_empty() {
        matching.insert("limit".to_owned(), STEP.into());
        loop {
            let mut answer = ask(api, &json!({ "matching": matching })).await?;
            take(&mut answer);
            match answer["next"].take() {
                Value::Null => break,
                next => matching.insert("after".to_owned(), next),
            };
        }
    }
    api.print(&json!({ "redriven": redriven, "left": left }))
}

async fn ask(api: &mut Api, body: &Value) -> anyhow::Result<Value> {
    api.ask(Method::POST, "/operator/quarantine/redrive", Some(body))
        .await
}

/// What was given, by its name in the API.
fn fields(matching: &Matching) -> Map<String, Value> {
    let texts = [
        ("reason", &matching.reason),
        ("tenant", &matching.tenant),
        ("topic", &matching.topic),
        ("since", &matching.since),
        ("until", &matching.until),
    ];
    let given = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into())));
    let partition = matching
        .partition
        .map(|partition| ("partition".to_owned(), partition.into()));
    given.chain(partition).collect()
}
