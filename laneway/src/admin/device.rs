//! `laneway admin device` and `laneway admin provisioning-key`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::ask::Api;
use super::command::Of;
use super::import;
use crate::client::segment;

#[derive(Debug, Subcommand)]
pub enum Device {
    Create {
        #[command(flatten)]
        of: Of,
        /// Chosen by the tenant.
        id: String,
    },
    List {
        #[command(flatten)]
        of: Of,
        /// Only those of this group.
        #[arg(long)]
        group: Option<String>,
        /// Only those with this label.
        #[arg(long, value_name = "NAME=VALUE")]
        label: Option<String>,
        /// Only those that are `enabled` or `disabled`.
        #[arg(long)]
        state: Option<String>,
    },
    Show {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// Register the devices of a file, at most 100,000; those that there are stay as they are.
    Import {
        #[command(flatten)]
        of: Of,
        /// CSV with a header (id, name, group, labels, label.NAME), or a device as JSON in each
        /// line where its name ends with .jsonl or .ndjson.
        file: PathBuf,
        /// Make a token for each new device, and print a line `id,token` for it.
        #[arg(long)]
        tokens: bool,
    },
    /// Refuse its credentials until it is enabled again.
    Disable {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    Enable {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// List what the processor refused of it.
    Refused {
        #[command(flatten)]
        of: Of,
        id: String,
    },
    /// Remove the device with its credentials; what it sent stays.
    Delete {
        #[command(flatten)]
        of: Of,
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum ProvisioningKey {
    /// Make one; it is printed once.
    Create {
        #[command(flatten)]
        of: Of,
        /// Says what it is for.
        #[arg(long, default_value = "made on the command line")]
        name: String,
        /// What the ids of its devices look like; each * stands for any characters.
        #[arg(long, default_value = "*")]
        pattern: String,
        /// Group of the devices that come in with it.
        #[arg(long, default_value = "")]
        group: String,
        /// Label of the devices that come in with it; may be given several times.
        #[arg(long, value_name = "NAME=VALUE")]
        label: Vec<String>,
        /// Let in so many devices; 0 for any number.
        #[arg(long, default_value_t = 0, value_name = "N")]
        max_uses: u32,
        /// Let nobody in from then on (RFC 3339).
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Let nobody in with it any more; the devices that came in stay.
    Revoke {
        #[command(flatten)]
        of: Of,
        id: String,
    },
}

pub async fn run(api: &mut Api, command: Device) -> anyhow::Result<()> {
    let path = |of: &Of, id: &str| of.path(&format!("/devices/{}", segment(id)));
    match command {
        Device::Create { of, id } => api.create(&of.path("/devices"), &json!({ "id": id })).await,
        Device::List {
            of,
            group,
            label,
            state,
        } => {
            let query: Vec<String> = [("group", group), ("label", label), ("state", state)]
                .into_iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", segment(&value?))))
                .collect();
            let mut list = of.path("/devices");
            if !query.is_empty() {
                list.push_str(&format!("?{}", query.join("&")));
            }
            let columns = ["id", "name", "group", "state", "last_seen_at", "created_at"];
            api.list(&list, &columns).await
        }
        Device::Show { of, id } => api.show(&path(&of, &id)).await,
        Device::Import { of, file, tokens } => {
            import::run(api, &of.path("/devices/bulk"), &file, tokens).await
        }
        Device::Disable { of, id } => {
            let state = json!({"state": "disabled"});
            api.patch(&path(&of, &id), &state).await
        }
        Device::Enable { of, id } => {
            let state = json!({"state": "enabled"});
            api.patch(&path(&of, &id), &state).await
        }
        Device::Refused { of, id } => {
            let columns = ["position", "reason", "topic", "received_at", "detail"];
            api.list(&format!("{}/refused", path(&of, &id)), &columns)
                .await
        }
        Device::Delete { of, id } => api.delete(&path(&of, &id)).await,
    }
}

pub async fn provisioning(api: &mut Api, command: ProvisioningKey) -> anyhow::Result<()> {
    match command {
        ProvisioningKey::Create {
            of,
            name,
            pattern,
            group,
            label,
            max_uses,
            expires_at,
        } => {
            let mut labels = Map::new();
            for pair in label {
                let (name, value) = pair
                    .split_once('=')
                    .with_context(|| format!("--label {pair}: write it as NAME=VALUE"))?;
                labels.insert(name.to_owned(), Value::from(value));
            }
            let body = json!({
                "name": name,
                "pattern": pattern,
                "group": group,
                "labels": labels,
                "max_uses": max_uses,
                "expires_at": expires_at,
            });
            api.create(&of.path("/provisioning-keys"), &body).await
        }
        ProvisioningKey::List { of } => {
            let columns = ["id", "name", "pattern", "uses", "max_uses", "expires_at"];
            api.list(&of.path("/provisioning-keys"), &columns).await
        }
        ProvisioningKey::Revoke { of, id } => {
            api.delete(&of.path(&format!("/provisioning-keys/{}", segment(&id))))
                .await
        }
    }
}
