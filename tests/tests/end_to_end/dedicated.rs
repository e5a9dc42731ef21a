//! A tenant with topics and a database of its own beside one that shares both, with the whole
//! program: nothing of either is lost, repeated or found with the other, though every process is
//! killed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{Database, embedded_only, laneway_binary, trace, wait};
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::recompute::{DeviceTotals, recompute};
use laneway_tests::sender::{Pace, Sending};
use laneway_tests::tenant::Tenant;
use serde_json::Value;
use tokio::process::Command;

const BOUND: Duration = Duration::from_secs(180);
/// Of each topic, where the roles are apart.
const PARTITIONS: u32 = 4;
/// Confirmed fixes a second, so that the kills come in between.
const RATE: u32 = 400;

fn settings(database: &str) -> Vec<(&'static str, String)> {
    vec![
        ("LANEWAY_LOG_TOPIC_SETS", "rail,bank".to_owned()),
        ("LANEWAY_STORE_SHARDS_URLS", format!("bank={database}")),
        ("LANEWAY_STORE_SHARDS_DEDICATED", "bank".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dedicated_tenant_on_the_embedded_default() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = settings("sqlite:{data_dir}/bank.db");
    let binary = laneway_binary()?;
    let deployment = Deployment::embedded_with(&binary, folder.path(), &settings).await?;
    apart(deployment, 24).await?;

    // Where the records are is never guessed, whatever the log says.
    let mut elsewhere = Command::new(&binary);
    elsewhere
        .arg("all")
        .current_dir(folder.path())
        .envs(settings.iter().map(|(key, value)| (*key, value)))
        .env("LANEWAY_DATA_DIR", folder.path().join("data"))
        .env("LANEWAY_HTTP_LISTEN", "127.0.0.1:0")
        .env("LANEWAY_LOG_EMBEDDED_PATH", folder.path().join("log"))
        .env("LANEWAY_LOG_TOPIC_SETS", "bank")
        .kill_on_drop(true);
    let ended = tokio::time::timeout(BOUND, elsewhere.output()).await??;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        !ended.status.success() && said.contains("log.topic_sets has to have bank at place 2"),
        "{ended:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dedicated_tenant_where_the_roles_are_apart() -> Result<()> {
    if embedded_only("a dedicated tenant where the roles are apart") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("dedicated", PARTITIONS).await?;
    let bank = Database::Postgres.empty().await?;
    let settings = settings(&bank.url);
    let binary = laneway_binary()?;
    let deployment =
        Deployment::distributed_with(&binary, folder.path(), &servers, &settings).await?;
    apart(deployment, PARTITIONS.into()).await
}

/// A tenant whose devices send.
struct Party {
    tenant: Tenant,
    expected: BTreeMap<String, DeviceTotals>,
    sending: Sending,
}

impl Party {
    async fn start(deployment: &Deployment, slug: &str, with: &[&str], seed: u64) -> Result<Self> {
        let trace = trace::generated(20, 100, seed);
        let expected = recompute(&trace);
        let tenant = Tenant::create_with(deployment, slug, with, expected.keys()).await?;
        let pace = Pace {
            batch: 10,
            concurrency: 20,
            rate: Some(RATE),
        };
        let mut sending = Sending::new(deployment, pace);
        sending.begin(&tenant, trace);
        Ok(Party {
            tenant,
            expected,
            sending,
        })
    }

    /// Everything at the webhook, at the websocket and in the database, and nothing else.
    async fn arrived(mut self, deployment: &Deployment) -> Result<()> {
        self.sending.all().await?;
        let tenant = &self.tenant;
        let complete = || {
            let websocket = tenant
                .subscriber
                .with_tally(|t| t.is_complete(&self.expected));
            websocket && tenant.receiver.tally().is_complete(&self.expected)
        };
        wait::until("everything to arrive", BOUND, || async { complete() })
            .await
            .with_context(|| format!("{:?}", tenant.receiver.tally().by_type()))?;
        let (repeated, leaked) = tenant.subscriber.with_tally(|t| (t.repeated(), t.leaked()));
        ensure!(
            (repeated, leaked) == (0, 0),
            "{repeated} repeated, {leaked} leaked"
        );
        {
            let tally = tenant.receiver.tally();
            tally.check(&self.expected)?;
            let wrong = (tally.leaked(), tally.out_of_order());
            ensure!(wrong == (0, 0), "{wrong:?} leaked or out of order");
        }
        for (device, totals) in &self.expected {
            let latest = jiff::Timestamp::from_microsecond(totals.latest_us)?;
            let path = format!("/devices/{device}/position");
            wait::until("the latest position", BOUND, || async {
                let reply = deployment.control.get(&path, &tenant.reader_key).await;
                let at = |r: &Value| r["recorded_at"].as_str()?.parse().ok();
                reply.is_ok_and(|r| at(&r.body) == Some(latest))
            })
            .await
            .with_context(|| format!("{device} should be at {latest}"))?;
        }
        Ok(())
    }
}

async fn apart(mut deployment: Deployment, partitions: u64) -> Result<()> {
    let own = ["--topics", "bank", "--database", "bank"];
    let bank = Party::start(&deployment, "bank", &own, 1).await?;
    let acme = Party::start(&deployment, "acme", &[], 2).await?;
    let lanes = async |slug: &str| -> Result<Vec<u64>> {
        let shown = deployment.admin(&["tenant", "show", slug]).await?;
        let lanes = shown["lanes"].as_array().context("lanes")?;
        Ok(lanes.iter().filter_map(Value::as_u64).collect())
    };
    let (of_bank, of_acme) = (lanes("bank").await?, lanes("acme").await?);
    // Those of the shared set come first, and then those of `rail`.
    ensure!(
        of_acme.iter().all(|lane| *lane < partitions)
            && of_bank.iter().all(|lane| lane / partitions == 2),
        "{of_acme:?} {of_bank:?}"
    );
    let taken = ["tenant", "create", "other", "--topics", "bank"];
    let refused = deployment.admin(&taken).await;
    ensure!(
        refused
            .as_ref()
            .is_err_and(|e| e.to_string().contains("another tenant's")),
        "{refused:?}"
    );
    for (percent, role) in [(20, "ingest"), (40, "processor"), (60, "sink")] {
        for party in [&bank, &acme] {
            party.sending.confirmed(percent).await?;
        }
        let role = if deployment.nodes.len() == 1 {
            "all"
        } else {
            role
        };
        let node = deployment.node(role)?;
        node.kill()?;
        node.restart()?;
        node.ready().await?;
    }
    for party in [bank, acme] {
        party.arrived(&deployment).await?;
    }
    let behind = async || -> Result<Vec<Value>> {
        let lag = deployment.admin(&["lag"]).await?;
        let lanes = lag["lanes"].as_array().context("lanes")?;
        ensure!(!lanes.is_empty(), "{lag}");
        let behind = lanes.iter().filter(|lane| lane["lag"] != 0);
        Ok(behind.cloned().collect())
    };
    wait::until("every group to come to the end", BOUND, || async {
        behind().await.is_ok_and(|behind| behind.is_empty())
    })
    .await?;
    deployment.stop().await
}
