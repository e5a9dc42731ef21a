//! How soon every role hears of a change: what is revoked ends within a second everywhere, and
//! options hold within two. Medians, so that a machine that stands still for once does not count.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::StatusCode;
use laneway_testkit::{embedded_only, laneway_binary, wait};
use laneway_tests::client::Client;
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::subscriber::Subscriber;
use laneway_tests::tenant::{device_token, text};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const BOUND: Duration = Duration::from_secs(60);
const REVOKED: Duration = Duration::from_secs(1);
const CHANGED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn news_is_everywhere_in_time_on_the_embedded_default() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    hear(deployment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn news_is_everywhere_in_time_where_the_roles_are_apart() -> Result<()> {
    if embedded_only("how soon roles of their own hear of a change") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("news", 4).await?;
    let deployment = Deployment::distributed(&laneway_binary()?, folder.path(), &servers).await?;
    hear(deployment).await
}

async fn hear(deployment: Deployment) -> Result<()> {
    let (api, ingest) = (&deployment.control, &deployment.ingest);
    let operator = deployment.admin(&["operator-key", "create"]).await?;
    let operator = text(&operator, "key")?;
    let body = json!({"slug": "acme", "owner": "Ada"});
    let acme = api.post("/tenants", &operator, &body).await?.ok()?;
    let (id, owner) = (text(&acme, "id")?, text(&acme["owner"], "key")?);
    let truck = json!({"id": "truck"});
    api.post("/devices", &owner, &truck).await?.ok()?;
    let (mut tokens, mut keys, mut options) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let token = device_token(api, &owner, "truck").await?;
        until_answered(ingest, &token, StatusCode::NOT_FOUND).await?;
        let credentials = api.get("/devices/truck/credentials", &owner).await?.ok()?;
        let credential = text(&credentials["items"][0], "id")?;
        let path = format!("/devices/truck/credentials/{credential}");
        let began = Instant::now();
        ensure!(api.delete(&path, &owner).await?.status.is_success());
        until_answered(ingest, &token, StatusCode::UNAUTHORIZED).await?;
        tokens.push(began.elapsed());

        let viewer = json!({"name": "v", "role": "viewer"});
        let key = api.post("/keys", &owner, &viewer).await?.ok()?;
        let reader = Subscriber::start(deployment.stream.clone(), text(&key, "key")?, &id);
        wait::until("the stream", BOUND, || async { reader.caught_up() }).await?;
        let connected = reader.connections();
        let path = format!("/keys/{}", text(&key, "id")?);
        let began = Instant::now();
        ensure!(api.delete(&path, &owner).await?.status.is_success());
        wait::until("the stream to end", BOUND, || async {
            !reader.is_open() || reader.connections() != connected
        })
        .await?;
        keys.push(began.elapsed());

        let token = device_token(api, &owner, "truck").await?;
        until_answered(ingest, &token, StatusCode::NOT_FOUND).await?;
        let elsewhere = json!({"options": {"ip_allow": ["192.0.2.0/24"]}});
        let began = Instant::now();
        api.put("/tenants/acme", &operator, &elsewhere)
            .await?
            .ok()?;
        until_answered(ingest, &token, StatusCode::FORBIDDEN).await?;
        options.push(began.elapsed());
        let anywhere = json!({"options": {"ip_allow": []}});
        api.put("/tenants/acme", &operator, &anywhere).await?.ok()?;
        until_answered(ingest, &token, StatusCode::NOT_FOUND).await?;
        wait::until("the tenant to be let in", BOUND, || async {
            let asked = api.get("/tenant", &owner).await;
            asked.is_ok_and(|answer| answer.status.is_success())
        })
        .await?;
        forget(api, &owner).await?;
    }
    for (what, took, bound) in [
        ("a token revoked", tokens, REVOKED),
        ("a key's stream ended", keys, REVOKED),
        ("an option held", options, CHANGED),
    ] {
        let mut sorted = took.clone();
        sorted.sort_unstable();
        ensure!(sorted[ROUNDS / 2] <= bound, "{what} after {took:?}");
    }
    deployment.stop().await
}

/// Until a device that asks for a session it does not have is answered so.
async fn until_answered(ingest: &Client, token: &str, status: StatusCode) -> Result<()> {
    wait::until(&format!("{status}"), BOUND, || async {
        let answer = ingest.get("/location/session/none", token).await;
        answer.is_ok_and(|answer| answer.status == status)
    })
    .await
}

/// A device has at most so many credentials.
async fn forget(api: &Client, owner: &str) -> Result<()> {
    let credentials = api.get("/devices/truck/credentials", owner).await?.ok()?;
    for credential in credentials["items"]
        .as_array()
        .unwrap_or(&Vec::<Value>::new())
    {
        let path = format!("/devices/truck/credentials/{}", text(credential, "id")?);
        ensure!(api.delete(&path, owner).await?.status.is_success());
    }
    Ok(())
}
