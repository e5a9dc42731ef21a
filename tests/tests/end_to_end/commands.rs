//! `laneway send` and `laneway tail` while the server says no, dies and comes back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{laneway_binary, wait};
use laneway_tests::deployment::Deployment;
use laneway_tests::tenant::key;
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(180);

/// With a tenant, its device `truck` and a key that may do all that a client does.
async fn deployment(folder: &Path, events_per_second: u32) -> Result<(Deployment, String)> {
    let deployment = Deployment::embedded(&laneway_binary()?, folder).await?;
    let limit = events_per_second.to_string();
    deployment
        .admin(&["tenant", "create", "acme", "--events-per-second", &limit])
        .await?;
    deployment
        .admin(&["device", "create", "--tenant", "acme", "truck"])
        .await?;
    let key = key(&deployment, "acme", "stream:read,location:write").await?;
    Ok((deployment, key))
}

/// `fixes` seconds of a day, as `DAY.csv`.
fn track(folder: &Path, day: u32, fixes: u32) -> Result<String> {
    let name = format!("{day}.csv");
    let lines: String = (0..fixes)
        .map(|i| {
            format!(
                "52.5,13.4,2026-01-{day:02}T12:{:02}:{:02}Z\n",
                i / 60,
                i % 60
            )
        })
        .collect();
    std::fs::write(folder.join(&name), format!("lat,lon,time\n{lines}"))?;
    Ok(name)
}

/// What `laneway send` says in the end.
fn send(
    deployment: &Deployment,
    key: &str,
    file: &str,
) -> impl Future<Output = Result<String>> + Send + use<> {
    let url = deployment.ingest.base();
    let to = ["send", file, "--url", url, "--key", key];
    let sent = deployment.command(&[&to[..], &["--device", "truck", "--batch", "50"]].concat());
    async move {
        let sent = sent.await?;
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        let failed = String::from_utf8_lossy(&sent.stderr);
        ensure!(sent.status.success(), "{said}{failed}");
        Ok(said)
    }
}

/// The ids of the positions that `laneway tail` prints.
fn tail(
    deployment: &Deployment,
    key: &str,
    from: &str,
    count: usize,
) -> impl Future<Output = Result<Vec<String>>> + Send + use<> {
    let (url, count) = (deployment.control.base(), count.to_string());
    let whose = ["tail", "--url", url, "--key", key, "--json"];
    let what = ["--from", from, "--types", "laneway.position"];
    let args = [&whose[..], &what, &["--count", &count]].concat();
    let printed = tokio::time::timeout(BOUND, deployment.command(&args));
    async move {
        let printed = printed.await.context("events are missing")??;
        let failed = String::from_utf8_lossy(&printed.stderr);
        ensure!(printed.status.success(), "{failed}");
        String::from_utf8(printed.stdout)?.lines().map(id).collect()
    }
}

fn id(line: &str) -> Result<String> {
    let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    Ok(event["id"]
        .as_str()
        .context("an event has an id")?
        .to_owned())
}

fn distinct(ids: &[String]) -> usize {
    ids.iter().collect::<BTreeSet<_>>().len()
}

/// Kill -9 of the server, and a new start.
async fn restart(deployment: &mut Deployment) -> Result<()> {
    let node = deployment.node("all")?;
    node.kill()?;
    node.restart()?;
    node.ready().await
}

#[tokio::test(flavor = "multi_thread")]
async fn send_waits_as_long_as_it_is_told_and_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut deployment, key) = deployment(folder.path(), 100).await?;
    // Two batches a second pass: what asks as told is refused about once a second.
    let file = track(folder.path(), 1, 600)?;
    let said = send(&deployment, &key, &file).await?;
    ensure!(said.starts_with("600 accepted, 0 refused"), "{said}");
    let number = |before: &str, after: &str| -> Option<f64> {
        let text = said.split_once(after)?.0.rsplit_once(before)?.1;
        text.trim().parse().ok()
    };
    let retries = number(",", "retries").context("retries")?;
    let seconds = number("in", " s (").context("seconds")?;
    ensure!(
        retries >= 2.0 && retries <= seconds + 1.0,
        "it asks more often than it was told, or was never refused: {said}"
    );

    let file = track(folder.path(), 2, 600)?;
    let sending = tokio::spawn(send(&deployment, &key, &file));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    ensure!(!sending.is_finished(), "it was sent before the server died");
    restart(&mut deployment).await?;
    let said = sending.await??;
    ensure!(said.starts_with("600 accepted, 0 refused"), "{said}");
    let ids = tail(&deployment, &key, "earliest", 1200).await?;
    ensure!(distinct(&ids) == 1200, "{} positions", distinct(&ids));
    deployment.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_goes_on_over_restarts_without_gap_or_repeat() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut deployment, key) = deployment(folder.path(), 0).await?;
    let printed = tokio::spawn(tail(&deployment, &key, "live", 150));
    let ops = deployment.node("all")?.ops();
    let following = || async {
        let metrics = ops.get("/metrics", "").await;
        metrics.is_ok_and(|m| m.text.contains("laneway_stream_connections 1\n"))
    };
    wait::until("the stream to be followed", BOUND, following).await?;
    // It asks for a token at once; nothing tells from outside when that has come.
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The first cut comes before the first event, and what is sent meanwhile belongs to it.
    for day in 1..=3 {
        restart(&mut deployment).await?;
        let file = track(folder.path(), day, 50)?;
        send(&deployment, &key, &file).await?;
    }
    let printed = printed.await??;
    let all = tail(&deployment, &key, "earliest", 150).await?;
    ensure!(
        printed == all,
        "{} of {}",
        distinct(&printed),
        distinct(&all)
    );
    ensure!(distinct(&printed) == 150);
    deployment.stop().await
}
