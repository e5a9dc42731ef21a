//! The webhook guide: its headers and its verification, on a real delivery.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use laneway_testkit::{Webhook, laneway_binary};
use laneway_tests::deployment::Deployment;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::markdown::blocks_in;
use super::truck;

const BOUND: Duration = Duration::from_secs(180);

/// Takes the delivery from standard input.
const CHECK: &str = r#"
import json, sys
delivery = json.load(sys.stdin)
body = base64.b64decode(delivery["body"])
headers = delivery["headers"]
assert verify(delivery["secret"], headers, body), "a good delivery is refused"
assert not verify(delivery["secret"], headers, body + b" "), "a changed body is accepted"
other = "whsec_" + base64.b64encode(b"another secret").decode()
assert not verify(other, headers, body), "another secret is accepted"
old = dict(headers, **{"webhook-timestamp": "1"})
assert not verify(delivery["secret"], old, body), "an old delivery is accepted"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_have_the_headers_that_are_shown_and_pass_the_verification_that_is_shown()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    let (admin, token) = truck(&deployment).await?;
    let control = &deployment.control;
    let webhook = Webhook::accepting().await?;
    let destination = json!({ "kind": "webhook", "url": webhook.url("/hook") });
    let destination = control.post("/destinations", &admin, &destination);
    let secret = destination.await?.ok()?["secret"].clone();
    let fix = json!({ "recorded_at": "2026-01-31T12:00:00.5Z", "lat": 52.5, "lon": 13.4 });
    let sent = deployment.ingest.post("/location/update", &token, &fix);
    sent.await?.ok()?;
    webhook.wait_for(1, BOUND).await?;
    let delivery = webhook.received().swap_remove(0);

    let shown = blocks_in("docs/webhooks.md", "http")?.concat();
    let mut lines = shown.lines();
    ensure!(lines.next() == Some("POST /hook HTTP/1.1"), "{shown}");
    for line in lines {
        let (name, value) = line.split_once(": ").context("a line is a header")?;
        let real = delivery.headers.get(name);
        let real = real.with_context(|| format!("no header {name} came"))?;
        if name == "content-type" {
            ensure!(real == value, "{name} is {real:?}");
        }
    }
    let headers: serde_json::Map<String, Value> = delivery
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default())))
        .collect();
    let delivery = json!({
        "secret": secret, "headers": headers, "body": STANDARD.encode(&delivery.body),
    });
    let verification = blocks_in("docs/webhooks.md", "python")?.concat() + CHECK;
    python(&verification, &delivery).await?;
    deployment.stop().await
}

async fn python(program: &str, input: &Value) -> Result<()> {
    let child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => bail!("running the guide's verification takes python3: {error}"),
    };
    let mut stdin = child.stdin.take().context("standard input")?;
    stdin.write_all(input.to_string().as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(())
}
