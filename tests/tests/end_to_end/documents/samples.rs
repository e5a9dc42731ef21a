//! The samples of JSON in the documents have the shape of what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use laneway_testkit::laneway_binary;
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::{device_token, key};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::markdown::blocks_in;
use super::truck;

const BOUND: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn events_and_messages_of_the_stream_have_the_fields_that_are_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    let (_, token) = truck(&deployment).await?;
    let fix = json!({
        "recorded_at": "2026-01-31T12:00:00.5Z", "lat": 52.5, "lon": 13.4, "speed": 8.3,
    });
    let sent = deployment.ingest.post("/location/update", &token, &fix);
    sent.await?.ok()?;
    let reader = key(&deployment, "acme", "stream:read").await?;
    let messages = messages(&deployment, &reader).await?;

    let blocks = blocks_in("docs/stream.md", "json")?;
    let [event, shown] = blocks.as_slice() else {
        bail!("docs/stream.md shows an event and the messages");
    };
    let event: Value = serde_json::from_str(event).context("the event that is shown")?;
    let real = &messages["event"]["event"];
    same_fields(&event, real)?;
    same_fields(&event["data"], &real["data"])?;
    for line in shown.lines() {
        let line = line.replace("{…}", "{}");
        let message: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let kind = message["type"].as_str().context("a message has a type")?;
        let real = messages
            .get(kind)
            .with_context(|| format!("no message of the type {kind} came"))?;
        same_fields(&message, real)?;
        if kind == "error" {
            same_fields(&message["problem"], &real["problem"])?;
        }
    }
    deployment.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_has_the_fields_that_are_shown_and_counts_what_was_sent() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    let control = &deployment.control;
    let operator = deployment.admin(&["operator-key", "create"]).await?;
    let operator = operator["key"].as_str().context("an operator's key")?;
    let limited = json!({ "slug": "busy", "limits": { "events_per_day": 1000 } });
    control.post("/tenants", operator, &limited).await?.ok()?;
    let admin = key(&deployment, "busy", "tenant:admin").await?;
    let device = json!({ "id": "truck-7" });
    control.post("/devices", &admin, &device).await?.ok()?;
    let token = device_token(control, &admin, "truck-7").await?;
    for second in ["00", "01"] {
        let recorded_at = format!("2026-01-31T12:00:{second}Z");
        let fix = json!({ "recorded_at": recorded_at, "lat": 52.5, "lon": 13.4 });
        let sent = deployment.ingest.post("/location/update", &token, &fix);
        sent.await?.ok()?;
    }
    let reader = key(&deployment, "busy", "usage:read").await?;
    let counted = || async {
        let usage = control.get("/usage", &reader).await.ok()?.ok().ok()?;
        let days = usage["days"].as_array()?;
        let events: i64 = days.iter().filter_map(|day| day["events"].as_i64()).sum();
        let quota = usage["quotas"][0]["used"].as_i64();
        (events == 2 && quota == Some(2)).then_some(usage)
    };
    let real =
        laneway_testkit::wait::eventually("the events to be counted", BOUND, counted).await?;
    let blocks = blocks_in("docs/usage.md", "json")?;
    let [shown] = blocks.as_slice() else {
        bail!("docs/usage.md shows one answer");
    };
    let shown: Value = serde_json::from_str(shown).context("the answer that is shown")?;
    same_fields(&shown, &real)?;
    same_fields(&shown["days"][0], &real["days"][0])?;
    same_fields(&shown["quotas"][0], &real["quotas"][0])?;
    deployment.stop().await
}

/// One message of each type that a subscription gives, and then an error.
async fn messages(deployment: &Deployment, key: &str) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for (from, last) in [
        (
            json!("earliest"),
            ["event", "caught_up", "token"].as_slice(),
        ),
        (json!({ "token": "v1.of-nobody" }), &["error"]),
    ] {
        let mut request = deployment.stream.as_str().into_client_request()?;
        let bearer = format!("Bearer {key}").parse()?;
        request.headers_mut().insert("authorization", bearer);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
        let subscribe =
            json!({ "type": "subscribe", "from": from, "event_types": ["laneway.position"] });
        for message in [subscribe, json!({ "type": "token" })] {
            socket.send(Message::text(message.to_string())).await?;
        }
        while !last.iter().all(|kind| found.contains_key(*kind)) {
            let message = tokio::time::timeout(BOUND, socket.next()).await?;
            let message = message.context("the stream ended")??;
            if let Message::Text(text) = message {
                let message: Value = serde_json::from_str(&text)?;
                let kind = message["type"].as_str().context("a message has a type")?;
                found.insert(kind.to_owned(), message.clone());
            }
        }
    }
    Ok(found)
}

fn same_fields(shown: &Value, real: &Value) -> Result<()> {
    let fields = |value: &Value| -> Result<BTreeSet<String>> {
        let object = value.as_object();
        let object = object.with_context(|| format!("{value} is no object"))?;
        Ok(object.keys().cloned().collect())
    };
    ensure!(
        fields(shown)? == fields(real)?,
        "the document shows {shown}\nbut what comes is {real}"
    );
    Ok(())
}
