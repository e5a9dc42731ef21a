//! `laneway admin device` and `laneway admin provisioning-key`.

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::ask::{Api, segment};
use super::command::{Device, Of, ProvisioningKey};
use super::import;

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
