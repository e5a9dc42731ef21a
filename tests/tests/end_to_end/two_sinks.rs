//! Sinks that come, go, and stand still, as whole processes on Apache Kafka and PostgreSQL.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{embedded_only, laneway_binary, trace, wait};
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::recompute::{DeviceTotals, recompute};
use laneway_tests::sender::{Pace, Sending};
use laneway_tests::tenant::{Tenant, key};
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

const BOUND: Duration = Duration::from_secs(180);

struct Run {
    deployment: Deployment,
    servers: Servers,
    tenant: Tenant,
    expected: BTreeMap<String, DeviceTotals>,
    sending: Sending,
    _folder: tempfile::TempDir,
}

impl Run {
    /// Two sinks, and devices that send for a while.
    async fn start(name: &str, rate: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let servers = Servers::shared(name, 8).await?;
        let binary = laneway_binary()?;
        let deployment = Deployment::distributed(&binary, folder.path(), &servers).await?;
        let trace = trace::generated(40, 300, 11);
        let expected = recompute(&trace);
        let tenant = Tenant::create(&deployment, "acme", expected.keys()).await?;
        let pace = Pace {
            batch: 10,
            concurrency: 40,
            rate: Some(rate),
        };
        let mut sending = Sending::new(&deployment, pace);
        sending.begin(&tenant, trace);
        Ok(Run {
            deployment,
            servers,
            tenant,
            expected,
            sending,
            _folder: folder,
        })
    }

    async fn delivered(&self) -> Result<()> {
        let tally = || self.tenant.receiver.tally();
        wait::until("everything to arrive at the webhook", BOUND, || async {
            tally().is_complete(&self.expected)
        })
        .await
        .with_context(|| format!("{:?}", tally().by_type()))?;
        let failures = self.tenant.receiver.failures();
        ensure!(failures.is_empty(), "{failures:?}");
        let tally = tally();
        // Each event once under its id, whatever came again under the same one.
        tally.check(&self.expected)?;
        ensure!(tally.leaked() == 0, "{} leaked", tally.leaked());
        let out = tally.out_of_order();
        ensure!(out == 0, "{out} out of order within their devices");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_move_between_sinks_lose_nothing_and_keep_each_devices_order() -> Result<()> {
    if embedded_only("two sinks on Apache Kafka") {
        return Ok(());
    }
    let mut run = Run::start("two_sinks", 800).await?;
    run.sending.confirmed(20).await?;
    run.deployment.add("sink", "sink-2").await?;
    run.sending.confirmed(45).await?;
    run.deployment.node("sink")?.kill()?;
    run.sending.confirmed(70).await?;
    run.deployment.node("sink")?.restart()?;
    run.deployment.node("sink")?.ready().await?;
    run.sending.all().await?;
    run.delivered().await?;
    run.deployment.stop().await
}

/// What the projection has written.
#[derive(Debug, PartialEq)]
struct Projected {
    /// As text.
    rows: Vec<String>,
    /// Where it is in each partition.
    positions: BTreeMap<i64, i64>,
}

impl Projected {
    async fn read(database: &mut PgConnection) -> Result<Self> {
        let mut rows = Vec::new();
        for table in ["latest_positions", "sessions"] {
            let query = format!("SELECT row_to_json(t)::text FROM {table} t ORDER BY 1");
            let found = sqlx::query(sqlx::AssertSqlSafe(query));
            for row in found.fetch_all(&mut *database).await? {
                rows.push(format!("{table} {}", row.try_get::<String, _>(0)?));
            }
        }
        let positions = "SELECT partition, next_offset FROM projection_positions";
        let positions = sqlx::query_as(positions).fetch_all(database).await?;
        Ok(Projected {
            rows,
            positions: positions.into_iter().collect(),
        })
    }

    fn rows_of(&self, table: &str) -> usize {
        self.rows.iter().filter(|r| r.starts_with(table)).count()
    }

    /// Nothing else is written, and no partition has gone back. That one goes on is no change:
    /// the woken sink says to all tenants how it is.
    fn is_as_it_was(&self, before: &Projected) -> bool {
        let gone_back = |(partition, at): (&i64, &i64)| {
            self.positions.get(partition).is_none_or(|now| now < at)
        };
        self.rows == before.rows && !before.positions.iter().any(gone_back)
    }
}

/// As the operator sees it.
async fn connect(url: &str) -> Result<PgConnection> {
    let mut database = PgConnection::connect(url).await?;
    for statement in [
        "SET ROLE laneway_app",
        "SELECT set_config('laneway.tenant', '*', false)",
    ] {
        sqlx::query(statement).execute(&mut database).await?;
    }
    Ok(database)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_stood_still_until_its_partitions_had_moved_changes_nothing() -> Result<()>
{
    if embedded_only("a projector that stands still, on Apache Kafka and PostgreSQL") {
        return Ok(());
    }
    let mut run = Run::start("stood_still", 800).await?;
    run.sending.confirmed(20).await?;
    run.deployment.add("sink", "sink-2").await?;
    run.sending.confirmed(40).await?;
    // In the middle of its work, for longer than it may be silent.
    run.deployment.node("sink")?.process().pause()?;
    run.sending.all().await?;
    for (device, totals) in &run.expected {
        let latest = jiff::Timestamp::from_microsecond(totals.latest_us)?;
        let path = format!("/devices/{device}/position");
        wait::until("the other sink to project everything", BOUND, || async {
            let reply = run.deployment.control.get(&path, &run.tenant.reader_key);
            reply.await.is_ok_and(|r| {
                r.body["recorded_at"].as_str().and_then(|t| t.parse().ok()) == Some(latest)
            })
        })
        .await
        .with_context(|| format!("{device} should be at {latest}"))?;
    }
    run.delivered().await?;

    let mut database = connect(&run.servers.postgres).await?;
    let mut settled = Projected::read(&mut database).await?;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = Projected::read(&mut database).await?;
        if now == settled {
            break;
        }
        settled = now;
    }
    let devices = run.expected.len();
    ensure!(
        settled.rows_of("latest_positions") == devices,
        "{settled:?}"
    );
    ensure!(settled.rows_of("sessions") == devices, "{settled:?}");

    run.deployment.node("sink")?.process().resume()?;
    run.deployment.node("sink")?.ready().await?;
    for _ in 0..20 {
        let now = Projected::read(&mut database).await?;
        ensure!(
            now.is_as_it_was(&settled),
            "the woken sink has changed what was there: {settled:?}, then {now:?}"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    run.deployment.stop().await
}

/// Devices of tenants that a table has rows of.
async fn devices_in(
    database: &mut PgConnection,
    table: &str,
    tenants: [&Tenant; 2],
) -> Result<Vec<(String, String)>> {
    let query = format!("SELECT tenant_id, device_id FROM {table} ORDER BY 1, 2");
    let rows: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .fetch_all(database)
        .await?;
    let slug = |id: &str| tenants.iter().find(|t| t.id == id).map(|t| t.slug.clone());
    let of = |(id, device): (String, String)| Some((slug(&id)?, device));
    Ok(rows.into_iter().filter_map(of).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_sink_had_written_when_it_was_erased_does_not_come_back() -> Result<()> {
    if embedded_only("a sink that is away while a tenant is closed, on Apache Kafka") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("erased_late", 4).await?;
    let settings = [("LANEWAY_PROCESSOR_IDLE_CLOSE_SECONDS", "3".to_owned())];
    let binary = laneway_binary()?;
    let mut deployment =
        Deployment::distributed_with(&binary, folder.path(), &servers, &settings).await?;
    let devices = ["van-1".to_owned(), "van-2".to_owned()];
    let stays = Tenant::create(&deployment, "acme", &devices).await?;
    let closes = Tenant::create(&deployment, "globex", &devices).await?;
    deployment.node("sink")?.kill()?;
    let at = "2026-01-31T12:00:00Z";
    let start = json!({ "session_id": "trip", "started_at": at });
    let fix = json!({ "recorded_at": at, "lat": 52.5, "lon": 13.4, "session_id": "trip" });
    for token in stays.tokens.values().chain(closes.tokens.values()) {
        for (path, body) in [
            ("/location/session/start", &start),
            ("/location/update", &fix),
        ] {
            deployment.ingest.post(path, token, body).await?.ok()?;
        }
    }
    let owner = key(&deployment, "acme", "tenant:own").await?;
    let erase = deployment.control.delete("/devices/van-1/personal", &owner);
    erase.await?.ok()?;
    deployment.admin(&["tenant", "close", "globex"]).await?;
    let closure = ["tenant", "closure", "globex"];
    // For longer than until everybody has heard of it.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let closure = deployment.admin(&closure).await?;
        ensure!(closure["closed_at"].is_null(), "{closure}");
    }

    deployment.node("sink")?.restart()?;
    deployment.node("sink")?.ready().await?;
    wait::until("the closure", BOUND, || async {
        let closure = deployment.admin(&closure).await;
        closure.is_ok_and(|closure| closure["closed_at"].is_string())
    })
    .await?;
    let mut database = connect(&servers.postgres).await?;
    let both = [&stays, &closes];
    let left = [("acme".to_owned(), "van-2".to_owned())];
    let erased = async {
        while !devices_in(&mut database, "erasures", both)
            .await?
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BOUND, erased)
        .await
        .context("waiting for the erasure to be done")??;
    for table in ["latest_positions", "sessions"] {
        let there = devices_in(&mut database, table, both).await?;
        ensure!(there == left, "{table}: {there:?}");
    }
    let counted = devices_in(&mut database, "usage_devices", both).await?;
    ensure!(
        counted.iter().all(|(slug, _)| slug == "acme"),
        "{counted:?}"
    );
    deployment.stop().await
}
