//! An event that a partner's receiver refuses, from the refusal to its delivery after all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{Answer, Webhook, embedded_only, laneway_binary, wait};
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::tenant::Tenant;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_parked_and_redriven_once_under_its_id_embedded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    run(Deployment::embedded(&laneway_binary()?, folder.path()).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_parked_and_redriven_once_under_its_id_on_kafka() -> Result<()> {
    if embedded_only("dead letters on Apache Kafka and PostgreSQL") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("dead_letters", 4).await?;
    run(Deployment::distributed(&laneway_binary()?, folder.path(), &servers).await?).await
}

/// Whether it is the event of the fix that the receiver does not like.
fn disliked(body: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    event["type"] == "laneway.position" && event["data"]["fix_id"] == "bad"
}

async fn run(deployment: Deployment) -> Result<()> {
    let devices = ["van", "bus"].map(str::to_owned);
    let tenant = Tenant::create(&deployment, "acme", &devices).await?;
    let refusing = |body: &bytes::Bytes| if disliked(body) { 400 } else { 200 };
    let webhook = Webhook::start(move |_, body| Answer::status(refusing(body))).await?;
    let destination = json!({ "kind": "webhook", "url": webhook.url("/hook") });
    let destination = deployment
        .control
        .post("/destinations", &tenant.admin_key, &destination)
        .await?
        .ok()?;
    let id = destination["id"].as_str().context("id")?;
    let of = ["--tenant", "acme", id];
    let admin = async |what: &str, more: &[&str]| {
        let args = [&["destination", what][..], &of, more].concat();
        deployment.admin(&args).await
    };

    let mut number = 0;
    let mut send = async |device: &str, fix: Option<&str>| {
        number += 1;
        let at = jiff::Timestamp::from_second(1_760_000_000 + number)?;
        let mut body = json!({ "recorded_at": at.to_string(), "lat": 52.5, "lon": 13.4 });
        if let Some(fix) = fix {
            body["id"] = fix.into();
        }
        let token = &tenant.tokens[device];
        let sent = deployment.ingest.post("/location/update", token, &body);
        sent.await?.ok()?;
        anyhow::Ok(())
    };
    // A destination begins when each lane has heard of it.
    let began = |device: &str| {
        let received = webhook.received();
        let of = |r: &laneway_testkit::webhook::Received| {
            let event: Value = serde_json::from_slice(&r.body).unwrap_or_default();
            event["subject"] == device
        };
        received.iter().any(of)
    };
    let give_up = std::time::Instant::now() + BOUND;
    while !(began("van") && began("bus")) {
        ensure!(std::time::Instant::now() < give_up, "nothing is delivered");
        send("van", None).await?;
        send("bus", None).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What it does not like, while others succeed.
    let mut letters = Vec::new();
    send("van", Some("bad")).await?;
    send("van", Some("good")).await?;
    let give_up = std::time::Instant::now() + BOUND;
    while letters.is_empty() {
        ensure!(std::time::Instant::now() < give_up, "nothing was parked");
        send("bus", None).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let listed = admin("dead-letters", &[]).await?;
        letters = listed.as_array().context("a list")?.clone();
    }
    let [letter] = letters.as_slice() else {
        anyhow::bail!("{letters:?}");
    };
    let event = letter["event_id"].as_str().context("event_id")?;
    ensure!(letter["device"] == "van", "{letter}");
    ensure!(letter["reason"] == "answered 400 Bad Request", "{letter}");
    let status = admin("status", &[]).await?;
    ensure!(status["dead_letters"] == 1, "{status}");
    ensure!(
        status["last_error"] == "answered 400 Bad Request",
        "{status}"
    );
    let refused = admin("redrive", &["--events", "unknown.1"]).await;
    ensure!(refused.is_err(), "an unknown event is no dead letter");

    // The receiver has been mended.
    webhook.answer(|_, _| Answer::status(200));
    let before = webhook.count();
    let asked = admin("redrive", &["--events", event]).await?;
    ensure!(asked["redriving"] == 1, "{asked}");
    wait::until("the dead letter to be gone", BOUND, || async {
        let status = admin("status", &[]).await;
        status.is_ok_and(|s| s["dead_letters"] == 0)
    })
    .await?;
    let listed = admin("dead-letters", &[]).await?;
    ensure!(listed == json!([]), "{listed}");
    let received = webhook.received();
    let with_id = |of: &[laneway_testkit::webhook::Received]| {
        let same = of.iter().filter(|r| r.headers["webhook-id"] == event);
        same.filter(|r| r.status.is_success()).count()
    };
    ensure!(
        with_id(&received) == 1,
        "delivered {} times",
        with_id(&received)
    );
    ensure!(
        with_id(&received[before..]) == 1,
        "delivered before it was redriven"
    );
    deployment.stop().await
}
