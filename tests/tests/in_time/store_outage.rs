//! The database goes away and comes back, under roles apart on Apache Kafka and PostgreSQL.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use jiff::Timestamp;
use laneway_testkit::{Postgres, embedded_only, laneway_binary, wait};
use laneway_tests::client::{Client, Reply};
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::tenant::{Tenant, device_token};
use serde_json::json;

const BOUND: Duration = Duration::from_secs(60);
/// How long a known device goes on without the database.
const OFFLINE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn known_devices_go_on_for_a_while_without_the_store_and_all_recovers_with_it() -> Result<()>
{
    if embedded_only("the outage of PostgreSQL") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::start_own().await?;
    let servers = Servers {
        postgres: postgres.url().to_owned(),
        ..Servers::shared("store_outage", 4).await?
    };
    let settings = [
        (
            "LANEWAY_AUTH_OFFLINE_SECONDS",
            OFFLINE.as_secs().to_string(),
        ),
        ("LANEWAY_AUTH_REFRESH_SECONDS", "1".to_owned()),
        ("LANEWAY_STORE_ACQUIRE_TIMEOUT_MS", "1000".to_owned()),
    ];
    let mut deployment =
        Deployment::distributed_with(&laneway_binary()?, folder.path(), &servers, &settings)
            .await?;
    let devices = ["van-1".to_owned(), "van-2".to_owned()];
    let tenant = Tenant::create(&deployment, "acme", &devices).await?;
    // Known to the database alone.
    let fresh = device_token(&deployment.control, &tenant.admin_key, "van-1").await?;
    let ingest = deployment.ingest.clone();
    let mut sent = Sent::default();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    // What is kept of a device is dropped when news of it comes, within a second.
    for _ in 0..60 {
        pace.tick().await;
        sent.all(&ingest, &tenant).await?;
    }

    postgres.kill()?;
    let away = Instant::now();
    while away.elapsed() < OFFLINE / 2 {
        pace.tick().await;
        sent.all(&ingest, &tenant).await?;
    }
    refused(&ingest.post("/location/update", &fresh, &json!({})).await?)?;
    let ops = deployment.node("ingest")?.ops();
    let ready = ops.get("/health/ready", "").await?;
    ensure!(
        ready.status == StatusCode::OK && ready.body["status"] == "degraded",
        "{}",
        ready.text
    );
    for token in tenant.tokens.values() {
        wait::until("a known device to be refused", BOUND, || async {
            let reply = ingest.post("/location/update", token, &json!({})).await;
            reply.is_ok_and(|reply| refused(&reply).is_ok())
        })
        .await?;
    }
    ensure!(away.elapsed() + Duration::from_secs(2) > OFFLINE);

    // What is refused for now, the command line sends again.
    std::fs::write(folder.path().join("track.csv"), track())?;
    let to = [
        "send",
        "track.csv",
        "--url",
        ingest.base(),
        "--token",
        &fresh,
    ];
    let (said, ()) = tokio::try_join!(
        deployment.command(&[&to[..], &["--device", "van-1"]].concat()),
        async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            postgres.restart().await
        }
    )?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.starts_with("30 accepted, 0 refused"), "{said}");
    ensure!(!said.contains(" 0 retries"), "it was never refused: {said}");
    sent.accepted += 30;

    sent.all(&ingest, &tenant).await?;
    for node in &mut deployment.nodes {
        let ops = node.ops();
        wait::until("everything to be well again", BOUND, || async {
            let ready = ops.get("/health/ready", "").await;
            ready.is_ok_and(|r| r.status == StatusCode::OK && r.body["status"] == "ok")
        })
        .await
        .with_context(|| format!("{} stays as it was", node.role))?;
    }
    arrived(&deployment, &tenant, &sent).await?;
    deployment.stop().await
}

/// Everything that was accepted comes out, once, and the database knows where the devices are.
async fn arrived(deployment: &Deployment, tenant: &Tenant, sent: &Sent) -> Result<()> {
    let streamed = || tenant.subscriber.with_tally(|tally| tally.positions());
    let delivered = || tenant.receiver.tally().positions();
    wait::until("all that was accepted to arrive", BOUND, || async {
        streamed() >= sent.accepted && delivered() >= sent.accepted
    })
    .await
    .with_context(|| format!("{} streamed, {} delivered", streamed(), delivered()))?;
    ensure!(
        (streamed(), delivered()) == (sent.accepted, sent.accepted),
        "{} were accepted, {} streamed, {} delivered",
        sent.accepted,
        streamed(),
        delivered()
    );
    for device in tenant.tokens.keys() {
        let path = format!("/devices/{device}/position");
        wait::until("the projection to go on", BOUND, || async {
            let reply = deployment.control.get(&path, &tenant.reader_key).await;
            let at = reply.map(|r| r.body["recorded_at"].as_str().and_then(|t| t.parse().ok()));
            at.is_ok_and(|at| at == Some(sent.last))
        })
        .await?;
    }
    Ok(())
}

#[derive(Default)]
struct Sent {
    accepted: u64,
    /// When the last fix of every device was recorded.
    last: Timestamp,
}

impl Sent {
    /// One more fix of every device, a second after the one before; each has to be accepted.
    async fn all(&mut self, ingest: &Client, tenant: &Tenant) -> Result<()> {
        let start = Timestamp::from_second(1_790_000_000)?;
        self.last = self.last.max(start) + Duration::from_secs(1);
        let fix = json!({ "recorded_at": self.last.to_string(), "lat": 52.5, "lon": 13.4 });
        for token in tenant.tokens.values() {
            let reply = ingest.post("/location/update", token, &fix).await?;
            ensure!(reply.status == StatusCode::OK, "{}", reply.text);
            self.accepted += 1;
        }
        Ok(())
    }
}

/// Half a minute of another day.
fn track() -> String {
    let fixes: String = (0..30)
        .map(|i| format!("52.{i:02},13.4,2026-01-01T12:00:{i:02}Z\n"))
        .collect();
    format!("lat,lon,time\n{fixes}")
}

/// 503, and when to come again.
fn refused(reply: &Reply) -> Result<()> {
    ensure!(
        reply.status == StatusCode::SERVICE_UNAVAILABLE
            && reply.headers.contains_key("retry-after"),
        "{} {:?} {}",
        reply.status,
        reply.headers,
        reply.text
    );
    Ok(())
}
