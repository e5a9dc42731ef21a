//! `laneway admin quarantine`.

use http::Method;
use serde_json::{Map, Value, json};

use super::ask::{Api, segment};
use super::command::{Matching, Quarantine};

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
