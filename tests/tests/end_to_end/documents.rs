//! What the documents show is run and compared: commands against a fresh `laneway all`, samples
//! against what really comes.

mod commands;
mod markdown;
mod samples;
mod signature;

use anyhow::Result;
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::{device_token, key};
use serde_json::json;

/// The tenant `acme` and its device `truck-7`, as the documents have them: the admin's key and the
/// device's token.
async fn truck(deployment: &Deployment) -> Result<(String, String)> {
    deployment.admin(&["tenant", "create", "acme"]).await?;
    let admin = key(deployment, "acme", "tenant:admin").await?;
    let control = &deployment.control;
    let device = json!({ "id": "truck-7" });
    control.post("/devices", &admin, &device).await?.ok()?;
    let token = device_token(control, &admin, "truck-7").await?;
    Ok((admin, token))
}
