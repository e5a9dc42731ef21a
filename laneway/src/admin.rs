//! `laneway admin`: tenants and what belongs to them, through the API.

mod account;
mod ask;
mod audit;
mod command;
mod device;
mod host;
mod import;
mod notice;
mod partner;
mod quarantine;
mod show;
mod usage;

use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;

use crate::client::{Client, Target, segment};
use ask::Api;
pub use command::Admin;
use command::{
    Credential, CredentialKind, Destination, Key, Of, OperatorKey, Secrets, Tenant, What,
};

/// `socket` says where the local socket is by the configuration.
pub async fn run(
    admin: Admin,
    socket: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    let connection = admin.connection;
    // A variable that is set to nothing is as good as not set.
    let url = connection.url.as_deref().filter(|url| !url.is_empty());
    let target = match (url, connection.socket) {
        (Some(url), _) => Target::url(url)?,
        (None, Some(path)) => Target::Socket(path),
        (None, None) => Target::Socket(socket()?),
    };
    let key = connection
        .key
        .as_deref()
        .filter(|_| matches!(target, Target::Url(_)));
    let mut api = Api::new(
        Client::new(target, key, connection.ca)?,
        admin.json,
        admin.field,
    );
    match admin.what {
        What::Tenant(command) => tenant(&mut api, command).await,
        What::Device(command) => device::run(&mut api, command).await,
        What::Credential(command) => credential(&mut api, command).await,
        What::ProvisioningKey(command) => device::provisioning(&mut api, command).await,
        What::Key(command) => self::key(&mut api, command).await,
        What::ServiceAccount(command) => account::run(&mut api, command).await,
        What::Destination(command) => destination(&mut api, command).await,
        What::Partner(command) => partner::run(&mut api, command).await,
        What::Grant(command) => partner::grant(&mut api, command).await,
        What::Host(command) => host::run(&mut api, command).await,
        What::OperatorKey(OperatorKey::Create { name }) => {
            api.create("/operator/keys", &json!({ "name": name })).await
        }
        What::Quarantine(command) => quarantine::run(&mut api, command).await,
        What::Audit(command) => audit::run(&mut api, command).await,
        What::Secrets(Secrets::Rotate) => api.rotate_secrets().await,
        What::Usage(command) => usage::run(&mut api, command).await,
        What::Notice(notice) => notice.give(&mut api).await,
        What::Lag => api.lag().await,
        What::Backup { path } => api.backup(path).await,
    }
}

async fn tenant(api: &mut Api, command: Tenant) -> anyhow::Result<()> {
    let state = |tenant: &str| format!("/tenants/{}/state", segment(tenant));
    match command {
        Tenant::Create {
            slug,
            lanes,
            database,
            topics,
            events_per_second,
            device_events_per_second,
            owner,
        } => {
            let mut body = json!({
                "slug": slug,
                "limits": {
                    "events_per_second": events_per_second,
                    "device_events_per_second": device_events_per_second,
                },
            });
            if let Some(lanes) = lanes {
                body["lanes"] = lanes.into();
            }
            if let Some(database) = database {
                body["database"] = database.into();
            }
            if let Some(topics) = topics {
                body["topics"] = topics.into();
            }
            if let Some(owner) = owner {
                body["owner"] = owner.into();
            }
            api.create("/tenants", &body).await
        }
        Tenant::List => {
            api.list("/tenants", &["slug", "id", "state", "created_at"])
                .await
        }
        Tenant::Show { tenant } => api.show(&format!("/tenants/{}", segment(&tenant))).await,
        Tenant::Suspend { tenant } => {
            api.put(&state(&tenant), &json!({"state": "suspended"}))
                .await
        }
        Tenant::Activate { tenant } => api.put(&state(&tenant), &json!({"state": "active"})).await,
        Tenant::Close { tenant } => api.put(&state(&tenant), &json!({"state": "closing"})).await,
        Tenant::Closure { tenant } => {
            api.show(&format!("/tenants/{}/closure", segment(&tenant)))
                .await
        }
    }
}

async fn credential(api: &mut Api, command: Credential) -> anyhow::Result<()> {
    let path =
        |of: &Of, device: &str| of.path(&format!("/devices/{}/credentials", segment(device)));
    match command {
        Credential::Create { of, device, kind } => {
            let body = match kind {
                CredentialKind::Token => json!({"kind": "token"}),
                CredentialKind::Password => json!({"kind": "password", "password": password()?}),
            };
            api.create(&path(&of, &device), &body).await
        }
        Credential::List { of, device } => {
            api.list(&path(&of, &device), &["id", "kind", "created_at"])
                .await
        }
        Credential::Revoke { of, device, id } => {
            api.delete(&format!("{}/{}", path(&of, &device), segment(&id)))
                .await
        }
    }
}

async fn key(api: &mut Api, command: Key) -> anyhow::Result<()> {
    match command {
        Key::Create {
            of,
            role,
            scope,
            name,
            account,
            expires_at,
        } => {
            let body = json!({
                "name": name,
                "role": role,
                "grants": scope,
                "account": account,
                "expires_at": expires_at,
            });
            api.create(&of.path("/keys"), &body).await
        }
        Key::List { of } => {
            let columns = [
                "id",
                "name",
                "account",
                "role",
                "grants",
                "created_at",
                "expires_at",
                "last_used_at",
            ];
            api.list(&of.path("/keys"), &columns).await
        }
        Key::Rotate {
            of,
            id,
            overlap,
            expires_at,
        } => {
            let path = of.path(&format!("/keys/{}/rotate", segment(&id)));
            let body = json!({"overlap_seconds": overlap, "expires_at": expires_at});
            api.create(&path, &body).await
        }
        Key::Revoke { of, id } => {
            api.delete(&of.path(&format!("/keys/{}", segment(&id))))
                .await
        }
    }
}

async fn destination(api: &mut Api, command: Destination) -> anyhow::Result<()> {
    let path = |of: &Of, id: &str| of.path(&format!("/destinations/{}", segment(id)));
    match command {
        Destination::Create {
            of,
            url,
            types,
            devices,
        } => {
            let body =
                json!({"kind": "webhook", "url": url, "event_types": types, "devices": devices});
            api.create(&of.path("/destinations"), &body).await
        }
        Destination::List { of } => {
            api.list(
                &of.path("/destinations"),
                &["id", "state", "url", "event_types", "devices"],
            )
            .await
        }
        Destination::Enable { of, id } => {
            api.patch(&path(&of, &id), &json!({"state": "active"}))
                .await
        }
        Destination::Disable { of, id } => {
            api.patch(&path(&of, &id), &json!({"state": "disabled"}))
                .await
        }
        Destination::Delete { of, id } => api.delete(&path(&of, &id)).await,
        Destination::Status { of, id } => api.show(&format!("{}/status", path(&of, &id))).await,
        Destination::DeadLetters { of, id } => {
            let columns = ["event_id", "device", "attempts", "parked_at", "reason"];
            let path = format!("{}/dead-letters", path(&of, &id));
            api.list(&path, &columns).await
        }
        Destination::Redrive {
            of,
            id,
            events,
            all,
        } => {
            let path = format!("{}/dead-letters/redrive", path(&of, &id));
            let body = if all {
                json!({"all": true})
            } else {
                json!({"events": events})
            };
            api.create(&path, &body).await
        }
    }
}

impl Of {
    /// The operator names the tenant in the path; a tenant's own key acts for its tenant.
    fn path(&self, rest: &str) -> String {
        match &self.tenant {
            Some(tenant) => format!("/tenants/{}{rest}", segment(tenant)),
            None => rest.to_owned(),
        }
    }
}

/// A line of standard input: arguments can be seen by others on the machine.
fn password() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("reading the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    anyhow::ensure!(
        !password.is_empty(),
        "there was no password on standard input: give it as a line"
    );
    Ok(password)
}
