//! The main job, whole: real fixes go from devices through HTTP to a webhook and a websocket, on
//! both backends, while every process is killed; what comes out equals the recomputation.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{Fix, embedded_only, laneway_binary, trace, wait};
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::recompute::{DeviceTotals, recompute};
use laneway_tests::sender::{Pace, Sending};
use laneway_tests::tenant::Tenant;

/// Kills of each role on the way.
const KILLS: u64 = 5;
const BOUND: Duration = Duration::from_secs(600);

/// The recorded trace with a device per person and day; a generated one where it is not there.
fn real_trace() -> Result<BTreeMap<&'static str, Vec<Fix>>> {
    let recorded = trace::geolife()?;
    let fixes = recorded.unwrap_or_else(|| {
        eprintln!("running on a generated trace instead of the recorded one");
        trace::generated(60, 1_000, 7)
    });
    let mut tenants: BTreeMap<&'static str, Vec<Fix>> = BTreeMap::new();
    for mut fix in fixes {
        let tenant = if fix.device.ends_with('1') {
            "north"
        } else {
            "south"
        };
        let day = fix.recorded_at_us.div_euclid(86_400_000_000);
        fix.device = format!("{}-{day}", fix.device);
        tenants.entry(tenant).or_default().push(fix);
    }
    Ok(tenants)
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_totals_equal_the_recomputation_over_kills() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    run(deployment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_totals_equal_the_recomputation_over_kills() -> Result<()> {
    if embedded_only("real fixes on Apache Kafka, PostgreSQL and a registry") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("real_fixes", 8).await?;
    let deployment = Deployment::distributed(&laneway_binary()?, folder.path(), &servers).await?;
    run(deployment).await
}

async fn run(mut deployment: Deployment) -> Result<()> {
    let pace = Pace {
        batch: 100,
        concurrency: 8,
        rate: None,
    };
    let mut sending = Sending::new(&deployment, pace);
    let mut tenants = Vec::new();
    for (slug, trace) in real_trace()? {
        let expected = recompute(&trace);
        let tenant = Tenant::create(&deployment, slug, expected.keys()).await?;
        sending.begin(&tenant, trace);
        tenants.push((tenant, expected));
    }

    // Each role is killed when another share of the trace has been confirmed.
    for kill in 1..=KILLS {
        sending.confirmed(100 * kill / (KILLS + 1)).await?;
        for node in &mut deployment.nodes {
            node.kill()?;
            node.restart()?;
        }
        for node in &mut deployment.nodes {
            node.ready().await?;
        }
    }
    sending.all().await?;

    for (tenant, expected) in &tenants {
        arrived(tenant, expected).await?;
    }
    for (tenant, expected) in &tenants {
        check_reads(&deployment, tenant, expected).await?;
    }
    deployment.stop().await
}

async fn arrived(tenant: &Tenant, expected: &BTreeMap<String, DeviceTotals>) -> Result<()> {
    let slug = &tenant.slug;
    wait::until("everything to arrive at the websocket", BOUND, || async {
        tenant.subscriber.failure().is_some()
            || tenant.subscriber.with_tally(|t| t.is_complete(expected))
    })
    .await
    .with_context(|| {
        tenant
            .subscriber
            .with_tally(|t| format!("{slug}: {:?}", t.by_type()))
    })?;
    wait::until("everything to arrive at the webhook", BOUND, || async {
        tenant.receiver.tally().is_complete(expected)
    })
    .await
    .with_context(|| format!("{slug}: {:?}", tenant.receiver.tally().by_type()))?;
    ensure!(
        tenant.subscriber.failure().is_none(),
        "{:?}",
        tenant.subscriber.failure()
    );
    ensure!(
        tenant.receiver.failures().is_empty(),
        "{:?}",
        tenant.receiver.failures()
    );
    tenant.subscriber.with_tally(|tally| {
        tally
            .check(expected)
            .with_context(|| format!("{slug}: at the websocket"))?;
        // The client resumes by position: nothing comes twice, and devices stay in order.
        ensure!(
            tally.repeated() == 0,
            "{slug}: {} repeated at the websocket",
            tally.repeated()
        );
        ensure!(
            tally.out_of_order() == 0,
            "{slug}: {} out of order at the websocket",
            tally.out_of_order()
        );
        anyhow::Ok(())
    })?;
    let tally = tenant.receiver.tally();
    tally
        .check(expected)
        .with_context(|| format!("{slug}: at the webhook"))?;
    ensure!(
        tally.out_of_order() == 0,
        "{slug}: {} out of order at the webhook",
        tally.out_of_order()
    );
    Ok(())
}

/// The database says the same: each device's latest position, each session's totals.
async fn check_reads(
    deployment: &Deployment,
    tenant: &Tenant,
    expected: &BTreeMap<String, DeviceTotals>,
) -> Result<()> {
    for (device, totals) in expected {
        let latest = jiff::Timestamp::from_microsecond(totals.latest_us)?;
        let path = format!("/devices/{device}/position");
        wait::until(
            "the projection to have the latest position",
            BOUND,
            || async {
                let reply = deployment.control.get(&path, &tenant.reader_key).await;
                reply.is_ok_and(|r| {
                    r.body["recorded_at"].as_str().and_then(|t| t.parse().ok()) == Some(latest)
                })
            },
        )
        .await
        .with_context(|| format!("{}/{device}: latest should be {latest}", tenant.slug))?;
        let session = deployment
            .ingest
            .get("/location/session/trip", &tenant.tokens[device])
            .await?
            .ok()?;
        ensure!(
            session["fixes"].as_u64() == Some(totals.session.fixes),
            "{device}: the session reads {session}, expected {:?}",
            totals.session
        );
    }
    Ok(())
}
