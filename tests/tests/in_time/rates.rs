//! A tenant's limit over several ingest processes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use http::StatusCode;
use laneway_testkit::{embedded_only, laneway_binary};
use laneway_tests::client::Client;
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::tenant;
use serde_json::{Value, json};

/// Events a second.
const LIMIT: u32 = 1_000;
const BATCH: usize = 10;
/// Until the nodes know of each other, and the first burst is over.
const WARM_UP: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_limit_holds_over_two_ingest_processes_within_ten_percent() -> Result<()> {
    if embedded_only("a limit over several ingest processes") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("rates", 4).await?;
    let mut deployment =
        Deployment::distributed(&laneway_binary()?, folder.path(), &servers).await?;
    let second = deployment.add("ingest", "ingest-2").await?;
    let limit = LIMIT.to_string();
    deployment
        .admin(&["tenant", "create", "acme", "--events-per-second", &limit])
        .await?;
    deployment
        .admin(&["device", "create", "--tenant", "acme", "van"])
        .await?;
    let key = tenant::key(&deployment, "acme", "location:write").await?;

    // Twice the limit in all, three times as much on one node as on the other.
    let (accepted, asked) = (AtomicU64::new(0), AtomicU64::new(0));
    let load = |client: Client, per_second: u32, from: u64| {
        let (key, accepted, asked) = (&key, &accepted, &asked);
        async move {
            let load = Load {
                client: &client,
                key,
                accepted,
                asked,
            };
            load.run(per_second, from).await
        }
    };
    let first = deployment.ingest.clone();
    tokio::try_join!(
        load(first, LIMIT * 3 / 2, 0),
        load(second, LIMIT / 2, 1_000_000)
    )?;
    let per_second = |count: &AtomicU64| {
        count.load(Ordering::Relaxed) as f64 / MEASURED.as_secs_f64() / f64::from(LIMIT)
    };
    let (passed, offered) = (per_second(&accepted), per_second(&asked));
    ensure!(
        offered > 1.5,
        "only {offered:.2} times the limit was asked for"
    );
    ensure!(
        (0.9..=1.1).contains(&passed),
        "{passed:.3} times the limit passed of {offered:.2}"
    );
    deployment.stop().await
}

struct Load<'a> {
    client: &'a Client,
    key: &'a str,
    /// While it is measured.
    accepted: &'a AtomicU64,
    asked: &'a AtomicU64,
}

impl Load<'_> {
    /// Batches at an even rate, whatever they are answered with. `from` keeps its fixes apart.
    async fn run(&self, per_second: u32, from: u64) -> Result<()> {
        let pause = Duration::from_secs(1) * BATCH as u32 / per_second;
        let mut clock = tokio::time::interval(pause);
        let start = Instant::now();
        let mut n = from;
        while start.elapsed() < WARM_UP + MEASURED {
            clock.tick().await;
            let fixes: Vec<Value> = (0..BATCH).map(|_| fix(&mut n)).collect();
            let body = json!({ "fixes": fixes });
            let reply = self.client.post("/location/update", self.key, &body);
            let accepted = match reply.await? {
                reply if reply.status == StatusCode::OK => BATCH as u64,
                reply if reply.status == StatusCode::TOO_MANY_REQUESTS => 0,
                reply => bail!("{} {}", reply.status, reply.text),
            };
            if start.elapsed() >= WARM_UP {
                self.accepted.fetch_add(accepted, Ordering::Relaxed);
                self.asked.fetch_add(BATCH as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

fn fix(n: &mut u64) -> Value {
    *n += 1;
    json!({ "device_id": "van", "recorded_at": 1_790_000_000_000 + *n, "lat": 52.5, "lon": 13.4 })
}
