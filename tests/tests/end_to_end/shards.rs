//! Tenants in databases of their own, with the whole program: where what they have is, and that
//! nothing of them is lost when the process is killed or the database is away.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use laneway_testkit::{Database, FaultProxy, embedded_only, laneway_binary, trace, wait};
use laneway_tests::client::Client;
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::recompute::{DeviceTotals, recompute};
use laneway_tests::sender::{Pace, Sending};
use laneway_tests::tenant::{Tenant, device_token, key};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};

const BOUND: Duration = Duration::from_secs(180);
/// Changes that a backup knows nothing of.
const LAST: i64 = 5;
const SHARDS: &str = "eu=sqlite:{data_dir}/eu.db";

/// A tenant with a device.
#[derive(Clone)]
struct Fleet {
    id: String,
    admin: String,
    device: &'static str,
    token: String,
}

impl Fleet {
    async fn create(deployment: &Deployment, slug: &str, database: &str) -> Result<Self> {
        let args = ["tenant", "create", slug, "--database", database];
        let made = deployment.admin(&args).await?;
        ensure!(made["database"] == database, "{made}");
        let admin = key(deployment, slug, "tenant:admin,positions:read").await?;
        let control = &deployment.control;
        let device = json!({ "id": "truck" });
        control.post("/devices", &admin, &device).await?.ok()?;
        Ok(Fleet {
            id: made["id"].as_str().context("an id")?.to_owned(),
            token: device_token(control, &admin, "truck").await?,
            device: "truck",
            admin,
        })
    }

    /// Sends a fix, and waits until it is the latest position.
    async fn moves_to(&self, client: &Client, recorded_at: &str) -> Result<()> {
        let fix = json!({ "recorded_at": recorded_at, "lat": 52.5, "lon": 13.4 });
        client
            .post("/location/update", &self.token, &fix)
            .await?
            .ok()?;
        let path = format!("/devices/{}/position", self.device);
        wait::until("the position", BOUND, || async {
            let found = client.get(&path, &self.admin).await;
            found.is_ok_and(|found| {
                found.status == StatusCode::OK && found.text.contains(recorded_at)
            })
        })
        .await
    }
}

/// The tenants that a file has keys of, or positions with their devices and tokens.
async fn tenants_in(file: &Path) -> Result<Vec<String>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await?;
    let rows = sqlx::query(
        "SELECT tenant_id FROM latest_positions
         INTERSECT SELECT tenant_id FROM devices INTERSECT SELECT tenant_id FROM credentials
         UNION SELECT tenant_id FROM api_keys",
    )
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// As in a database that was put back from a backup of before the tenant's last changes.
async fn forget_last(file: &Path, fleet: &Fleet) -> Result<()> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await?;
    let forget = "UPDATE tenants SET control_version = control_version - $2 WHERE tenant_id = $1";
    let forgotten = sqlx::query(forget)
        .bind(&fleet.id)
        .bind(LAST)
        .execute(&mut connection)
        .await?;
    ensure!(forgotten.rows_affected() == 1, "{}", file.display());
    Ok(connection.close().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_in_the_tenants_database_and_survive_a_kill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = [("LANEWAY_STORE_SHARDS_URLS", SHARDS.to_owned())];
    let binary = laneway_binary()?;
    let mut deployment = Deployment::embedded_with(&binary, folder.path(), &settings).await?;
    let acme = Fleet::create(&deployment, "acme", "eu").await?;
    let globex = Fleet::create(&deployment, "globex", "main").await?;
    let client = deployment.ingest.clone();
    for fleet in [&acme, &globex] {
        fleet.moves_to(&client, "2026-01-31T12:00:00.500Z").await?;
        for n in 0..LAST {
            let device = json!({ "id": format!("last-{n}") });
            let made = deployment.control.post("/devices", &fleet.admin, &device);
            made.await?.ok()?;
        }
    }
    let data = folder.path().join("data");
    let node = deployment.node("all")?;
    node.kill()?;
    for (file, fleet) in [("eu.db", &acme), ("laneway.db", &globex)] {
        forget_last(&data.join(file), fleet).await?;
    }
    node.restart()?;
    node.ready().await?;
    for fleet in [&acme, &globex] {
        fleet.moves_to(&client, "2026-01-31T12:01:00.500Z").await?;
        // What is new after that is heard of all the same.
        let control = &deployment.control;
        let device = json!({ "id": "van" });
        control
            .post("/devices", &fleet.admin, &device)
            .await?
            .ok()?;
        let token = device_token(control, &fleet.admin, "van").await?;
        let van = Fleet {
            token,
            device: "van",
            ..fleet.clone()
        };
        van.moves_to(&client, "2026-01-31T12:02:00.500Z").await?;
    }
    assert_eq!(tenants_in(&data.join("eu.db")).await?, [acme.id.as_str()]);
    assert_eq!(
        tenants_in(&data.join("laneway.db")).await?,
        [globex.id.as_str()]
    );
    let made = deployment.admin(&["backup"]).await?;
    let backup = made["folder"].as_str().context("a folder")?;
    let restored = folder.path().join("restored");
    let restore = |settings: &[(&str, &str)]| {
        let mut command = std::process::Command::new(&binary);
        command.args(["restore", "--from", backup]);
        command.env("LANEWAY_DATA_DIR", &restored);
        command.envs(settings.iter().copied()).output()
    };
    let refused = restore(&[])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("the database eu"),
        "{said}"
    );
    ensure!(!restored.exists(), "half of the backup was put back");
    let done = restore(&[("LANEWAY_STORE_SHARDS_URLS", SHARDS)])?;
    ensure!(done.status.success(), "{done:?}");
    assert_eq!(tenants_in(&restored.join("eu.db")).await?, [acme.id]);
    assert_eq!(tenants_in(&restored.join("laneway.db")).await?, [globex.id]);
    deployment.stop().await
}

/// A tenant in one lane, whose devices send.
struct Party {
    tenant: Tenant,
    lane: Value,
    expected: BTreeMap<String, DeviceTotals>,
    sending: Sending,
}

impl Party {
    async fn start(deployment: &Deployment, slug: &str, database: &str, seed: u64) -> Result<Self> {
        let trace = trace::generated(10, 100, seed);
        let expected = recompute(&trace);
        let with = ["--database", database, "--lanes", "1"];
        let tenant = Tenant::create_with(deployment, slug, &with, expected.keys()).await?;
        let shown = deployment.admin(&["tenant", "show", slug]).await?;
        let pace = Pace {
            batch: 5,
            concurrency: 10,
            rate: Some(100),
        };
        let mut sending = Sending::new(deployment, pace);
        sending.begin(&tenant, trace);
        Ok(Party {
            tenant,
            lane: shown["lanes"].clone(),
            expected,
            sending,
        })
    }

    /// Everything has been sent, and is at the webhook and at the websocket, once.
    async fn delivered(&mut self) -> Result<()> {
        self.sending.all().await?;
        let (receiver, subscriber) = (&self.tenant.receiver, &self.tenant.subscriber);
        wait::until("everything to be delivered", BOUND, || async {
            receiver.tally().is_complete(&self.expected)
                && subscriber.with_tally(|tally| tally.is_complete(&self.expected))
        })
        .await
        .with_context(|| format!("{:?}", receiver.tally().by_type()))?;
        receiver.tally().check(&self.expected)?;
        subscriber.with_tally(|tally| tally.check(&self.expected))
    }

    /// Its database has everything.
    async fn projected(&self, deployment: &Deployment) -> Result<()> {
        for (device, totals) in &self.expected {
            let latest = jiff::Timestamp::from_microsecond(totals.latest_us)?;
            let path = format!("/devices/{device}/position");
            wait::until("the latest position", BOUND, || async {
                let reply = deployment.control.get(&path, &self.tenant.reader_key).await;
                let at = |r: &Value| r["recorded_at"].as_str()?.parse().ok();
                reply.is_ok_and(|r| at(&r.body) == Some(latest))
            })
            .await
            .with_context(|| format!("{device} should be at {latest}"))?;
            let token = &self.tenant.tokens[device];
            wait::until("the session's totals", BOUND, || async {
                let reply = deployment.ingest.get("/location/session/trip", token).await;
                reply.is_ok_and(|r| r.body["fixes"] == totals.session.fixes)
            })
            .await
            .with_context(|| format!("{device} has {} fixes", totals.session.fixes))?;
        }
        Ok(())
    }

    async fn position(&self, deployment: &Deployment) -> Result<StatusCode> {
        let device = self.expected.keys().next().context("a device")?;
        let path = format!("/devices/{device}/position");
        let reply = deployment.control.get(&path, &self.tenant.reader_key);
        Ok(reply.await?.status)
    }
}

/// Until each process says that of itself.
async fn all_are(deployment: &Deployment, status: &str, roles: &[&str]) -> Result<()> {
    for node in deployment.nodes.iter().filter(|n| roles.contains(&n.role)) {
        let ops = node.ops();
        wait::until("health to follow", BOUND, || async {
            let ready = ops.get("/health/ready", "").await;
            ready.is_ok_and(|r| r.status == StatusCode::OK && r.body["status"] == status)
        })
        .await
        .with_context(|| format!("{} should be {status}", node.role))?;
    }
    Ok(())
}

/// How a database is away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Away {
    /// Nobody listens.
    Closed,
    /// Connections stay, and nothing is answered.
    Silent,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_database_is_closed_waits_alone_and_loses_nothing() -> Result<()> {
    waits_alone("shard_closed", Away::Closed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_database_is_silent_waits_alone_and_loses_nothing() -> Result<()> {
    waits_alone("shard_silent", Away::Silent).await
}

async fn waits_alone(name: &str, how: Away) -> Result<()> {
    if embedded_only("a tenant's own PostgreSQL that goes away, on Apache Kafka") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared(name, 8).await?;
    let eu = Database::Postgres.empty().await?;
    let (server, database) = eu.url.rsplit_once('/').context("a database")?;
    let (login, address) = server.rsplit_once('@').context("a login")?;
    let proxy = FaultProxy::start(address).await?;
    let settings = [
        (
            "LANEWAY_STORE_SHARDS_URLS",
            format!("eu={login}@{}/{database}", proxy.address()),
        ),
        ("LANEWAY_STORE_ACQUIRE_TIMEOUT_MS", "1000".to_owned()),
    ];
    let deployment =
        Deployment::distributed_with(&laneway_binary()?, folder.path(), &servers, &settings)
            .await?;
    let mut acme = Party::start(&deployment, "acme", "eu", 1).await?;
    let mut others = 0;
    let mut globex = loop {
        let slug = format!("globex-{others}");
        let other = Party::start(&deployment, &slug, "main", 2).await?;
        if other.lane != acme.lane {
            break other;
        }
        others += 1;
        ensure!(others < 20, "every tenant is in lane {}", acme.lane);
    };
    for party in [&acme, &globex] {
        party.sending.confirmed(30).await?;
        wait::until("a position", BOUND, || async {
            let status = party.position(&deployment).await;
            status.is_ok_and(|status| status == StatusCode::OK)
        })
        .await?;
    }

    match how {
        Away::Closed => proxy.cut().await?,
        Away::Silent => proxy.stall(),
    }
    for party in [&mut acme, &mut globex] {
        party.delivered().await?;
    }
    globex.projected(&deployment).await?;
    let away = acme.position(&deployment).await?;
    ensure!(away == StatusCode::SERVICE_UNAVAILABLE, "{away}");
    // Who is there is changed, and heard of; who is away is told to come again.
    let control = &deployment.control;
    let new = json!({ "id": "new" });
    let made = control.post("/devices", &globex.tenant.admin_key, &new);
    made.await?.ok()?;
    let token = device_token(control, &globex.tenant.admin_key, "new").await?;
    let fix = json!({ "recorded_at": "2026-01-31T12:00:00Z", "lat": 52.5, "lon": 13.4 });
    let sent = deployment.ingest.post("/location/update", &token, &fix);
    sent.await?.ok()?;
    let refused = control.post("/devices", &acme.tenant.admin_key, &new);
    let refused = refused.await?;
    ensure!(
        refused.status == StatusCode::SERVICE_UNAVAILABLE && refused.retry_after().is_some(),
        "{refused:?}"
    );
    all_are(&deployment, "degraded", &["sink"]).await?;

    proxy.restore().await?;
    acme.projected(&deployment).await?;
    let made = control.post("/devices", &acme.tenant.admin_key, &new);
    made.await?.ok()?;
    all_are(
        &deployment,
        "ok",
        &["control", "ingest", "processor", "sink"],
    )
    .await?;
    let mut database = PgConnection::connect(&eu.url).await?;
    for statement in [
        "SET ROLE laneway_app",
        "SELECT set_config('laneway.tenant', '*', false)",
    ] {
        sqlx::query(statement).execute(&mut database).await?;
    }
    let tenants = sqlx::query("SELECT DISTINCT tenant_id::text FROM latest_positions")
        .fetch_all(&mut database)
        .await?;
    let tenants: Vec<String> = tenants.iter().map(|row| row.get(0)).collect();
    ensure!(tenants == [acme.tenant.id.clone()], "{tenants:?}");
    deployment.stop().await
}
