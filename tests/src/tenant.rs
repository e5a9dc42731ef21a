//! A tenant with devices, a webhook and a websocket, made through the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::Client;
use crate::deployment::Deployment;
use crate::receiver::Receiver;
use crate::subscriber::Subscriber;

pub struct Tenant {
    pub id: String,
    pub slug: String,
    /// Of each device.
    pub tokens: Arc<BTreeMap<String, String>>,
    /// `tenant:admin`
    pub admin_key: String,
    /// `stream:read`, `positions:read`
    pub reader_key: String,
    pub receiver: Receiver,
    pub subscriber: Subscriber,
}

impl Tenant {
    /// Creates the tenant by the operator's command line and the rest by the tenant's own key.
    pub async fn create(
        deployment: &Deployment,
        slug: &str,
        devices: impl IntoIterator<Item = &String>,
    ) -> Result<Self> {
        Self::create_with(deployment, slug, &[], devices).await
    }

    /// With these arguments of `tenant create`.
    pub async fn create_with(
        deployment: &Deployment,
        slug: &str,
        arguments: &[&str],
        devices: impl IntoIterator<Item = &String>,
    ) -> Result<Self> {
        let create = [&["tenant", "create", slug], arguments].concat();
        let tenant = deployment.admin(&create).await?;
        let id = text(&tenant, "id")?;
        let admin_key = key(deployment, slug, "tenant:admin").await?;
        let reader_key = key(deployment, slug, "stream:read,positions:read").await?;
        let control = &deployment.control;
        let mut tokens = BTreeMap::new();
        for device in devices {
            control
                .post("/devices", &admin_key, &json!({ "id": device }))
                .await?
                .ok()?;
            tokens.insert(
                device.clone(),
                device_token(control, &admin_key, device).await?,
            );
        }
        let receiver = Receiver::start(&id).await?;
        let destination = json!({ "kind": "webhook", "url": receiver.url() });
        let destination = control
            .post("/destinations", &admin_key, &destination)
            .await?
            .ok()?;
        receiver.trust(&text(&destination, "secret")?)?;
        let subscriber = Subscriber::start(deployment.stream.clone(), reader_key.clone(), &id);
        Ok(Tenant {
            id,
            slug: slug.to_owned(),
            tokens: Arc::new(tokens),
            admin_key,
            reader_key,
            receiver,
            subscriber,
        })
    }
}

/// A new API key of a tenant.
pub async fn key(deployment: &Deployment, slug: &str, scopes: &str) -> Result<String> {
    let key = deployment
        .admin(&["key", "create", "--tenant", slug, "--scope", scopes])
        .await?;
    text(&key, "key")
}

/// A new token of a device.
pub async fn device_token(control: &Client, key: &str, device: &str) -> Result<String> {
    let path = format!("/devices/{device}/credentials");
    let credential = control
        .post(&path, key, &json!({ "kind": "token" }))
        .await?
        .ok()?;
    text(&credential, "token")
}

/// A field of an answer.
pub fn text(value: &Value, name: &str) -> Result<String> {
    value[name]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no `{name}` in {value}"))
}
