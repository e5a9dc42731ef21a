//! A tenant with one above it, one beside it and one elsewhere, and credentials of each.

use std::time::Duration;

use anyhow::{Context, Result};
use http::StatusCode;
use laneway_testkit::wait;
use laneway_tests::client::Client;
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::{device_token, text};
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(180);

/// Who asks for what the tenant `shop` has, which is below `acme`.
pub const CALLERS: [&str; 15] = [
    "nobody",
    "revoked",
    "expired",
    "suspended",
    "stranger",
    "sibling",
    "parent",
    "partner",
    "device",
    "usage:read",
    "viewer",
    "developer",
    "admin",
    "owner",
    "operator",
];

pub struct Family {
    credentials: Vec<String>,
    /// The platform's.
    pub operator: String,
    /// The key of `shop`'s owner.
    pub owner: String,
}

impl Family {
    pub async fn settle(deployment: &Deployment) -> Result<Self> {
        let api = &deployment.control;
        let operator = deployment.admin(&["operator-key", "create"]).await?;
        let operator = text(&operator, "key")?;
        let top = |slug: &'static str| owned(api, "/tenants", &operator, slug);
        let (acme, globex, shut) = (top("acme").await?, top("globex").await?, top("shut").await?);
        let suspended = json!({"state": "suspended"});
        api.put("/tenants/shut/state", &operator, &suspended)
            .await?
            .ok()?;
        let below = |slug: &'static str| owned(api, "/tenants/acme/tenants", &acme, slug);
        let (shop, stall) = (below("shop").await?, below("stall").await?);
        let key = |body: Value| {
            let shop = &shop;
            async move { api.post("/keys", shop, &body).await?.ok() }
        };
        let role = |role: &'static str| {
            let made = key(json!({"name": role, "role": role}));
            async move { text(&made.await?, "key") }
        };
        let revoked = key(json!({"name": "revoked", "role": "owner"})).await?;
        let gone = format!("/keys/{}", text(&revoked, "id")?);
        let gone = api.delete(&gone, &shop).await?;
        anyhow::ensure!(gone.status.is_success(), "{}", gone.text);
        let expired = key(json!({"name": "expired", "role": "owner"})).await?;
        let rotate = format!("/keys/{}/rotate", text(&expired, "id")?);
        let expired = text(&expired, "key")?;
        let overlap = json!({"overlap_seconds": 1});
        api.post(&rotate, &shop, &overlap).await?.ok()?;
        wait::until("a key to end", BOUND, || async {
            let asked = api.get("/tenant", &expired).await;
            asked.is_ok_and(|answer| answer.status == StatusCode::UNAUTHORIZED)
        })
        .await?;
        let partner = owned(api, "/partners", &operator, "weather").await?;
        let usage = key(json!({"name": "usage", "grants": ["usage:read"]})).await?;
        api.post("/devices", &shop, &json!({"id": "van"}))
            .await?
            .ok()?;
        let token = device_token(api, &shop, "van").await?;
        let credentials = vec![
            String::new(),
            text(&revoked, "key")?,
            expired,
            shut,
            globex,
            stall,
            acme.clone(),
            partner,
            token,
            text(&usage, "key")?,
            role("viewer").await?,
            role("developer").await?,
            role("admin").await?,
            shop.clone(),
            operator.clone(),
        ];
        Ok(Family {
            credentials,
            operator,
            owner: shop,
        })
    }

    pub fn callers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        CALLERS
            .into_iter()
            .zip(self.credentials.iter().map(String::as_str))
    }
}

/// A tenant's owner's key.
async fn owned(api: &Client, path: &str, key: &str, slug: &str) -> Result<String> {
    let body = json!({"slug": slug, "owner": "first"});
    let made = api.post(path, key, &body).await?.ok()?;
    text(&made["owner"], "key").with_context(|| format!("making {slug}"))
}
