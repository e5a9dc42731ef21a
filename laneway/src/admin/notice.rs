//! `laneway admin notice`.

use anyhow::Context;
use clap::Args;
use serde_json::{Map, json};

use super::ask::Api;

#[derive(Debug, Args)]
pub struct Notice {
    /// What it says, in a line.
    pub title: String,
    /// deployment, health, quota, breaker, maintenance or information.
    #[arg(long, default_value = "information")]
    pub kind: String,
    /// info, warning or critical.
    #[arg(long, default_value = "info")]
    pub severity: String,
    /// More of it.
    #[arg(long)]
    pub text: Option<String>,
    /// The same for programs; may be given again.
    #[arg(long = "detail", value_name = "NAME=VALUE")]
    pub details: Vec<String>,
}

impl Notice {
    pub async fn give(self, api: &mut Api) -> anyhow::Result<()> {
        let mut details = Map::new();
        for detail in &self.details {
            let (name, value) = detail
                .split_once('=')
                .with_context(|| format!("--detail {detail}: it is NAME=VALUE"))?;
            details.insert(name.to_owned(), value.into());
        }
        let body = json!({
            "title": self.title,
            "kind": self.kind,
            "severity": self.severity,
            "text": self.text,
            "details": details,
        });
        api.create("/operator/notices", &body).await
    }
}
