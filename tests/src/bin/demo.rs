//! `make demo`: the main job on the embedded default, before your eyes. Two tenants, their devices
//! on the move, a webhook and a websocket for each, a kill -9 in the middle, and the count at the end.
//!
//! `TRACE=file.csv[.gz]` sends a recorded trace (`lat,lng,datetime,uid` under a heading, UTC)
//! instead of generated movement; `KEEP=1` leaves it running.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use laneway_testkit::{Fix, laneway_binary, trace};
use laneway_tests::deployment::Deployment;
use laneway_tests::recompute::{DeviceTotals, recompute};
use laneway_tests::sender::{Progress, Sender};
use laneway_tests::tenant::Tenant;

const SLUGS: [&str; 2] = ["acme", "globex"];
const RATE: u32 = 2_000;
const ARRIVAL: Duration = Duration::from_secs(120);

struct Party {
    tenant: Tenant,
    sent: usize,
    expected: BTreeMap<String, DeviceTotals>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool> {
    let folder = tempfile::tempdir().context("making a folder for the demo")?;
    let recorded = std::env::var("TRACE").ok().filter(|t| !t.is_empty());
    let traces = traces(recorded.as_deref())?;
    let total: usize = traces.iter().map(Vec::len).sum();
    println!("Starting `laneway all` in a fresh folder …");
    let mut deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;

    let mut parties = Vec::new();
    for (slug, trace) in SLUGS.into_iter().zip(&traces) {
        let expected = recompute(trace);
        let tenant = Tenant::create(&deployment, slug, expected.keys()).await?;
        println!(
            "Tenant {slug}: {} devices, a webhook and a websocket.",
            expected.len()
        );
        parties.push(Party {
            tenant,
            sent: trace.len(),
            expected,
        });
    }

    let progress = Arc::new(Progress::default());
    let mut senders = tokio::task::JoinSet::new();
    for (party, trace) in parties.iter().zip(traces) {
        let sender = Sender {
            client: deployment.ingest.clone(),
            tokens: Arc::clone(&party.tenant.tokens),
            batch: 20,
            concurrency: 64,
            // A recorded trace is long: it goes as fast as it can.
            rate: recorded.is_none().then_some(RATE / 2),
            progress: Arc::clone(&progress),
        };
        senders.spawn(async move { sender.send(&trace).await });
    }
    watch(
        &mut deployment,
        &parties,
        &progress,
        total as u64,
        &mut senders,
    )
    .await?;
    let right = table(&parties, &progress);
    if std::env::var("KEEP").is_ok_and(|k| !k.is_empty() && k != "0") {
        keep(&deployment, &parties).await?;
    }
    deployment.stop().await?;
    Ok(right)
}

/// One trace a tenant; a recorded one is dealt out by device.
fn traces(recorded: Option<&str>) -> Result<[Vec<Fix>; 2]> {
    let Some(file) = recorded else {
        return Ok([trace::generated(25, 400, 1), trace::generated(15, 400, 2)]);
    };
    let fixes = trace::read(Path::new(file)).with_context(|| format!("reading TRACE={file}"))?;
    let devices: BTreeMap<String, usize> = fixes
        .iter()
        .map(|f| f.device.clone())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .zip(0..)
        .collect();
    let (first, second) = fixes
        .into_iter()
        .partition(|fix| devices[&fix.device].is_multiple_of(2));
    Ok([first, second])
}

/// Shows rate and lag until everything has arrived; kills and restarts the process half-way.
async fn watch(
    deployment: &mut Deployment,
    parties: &[Party],
    progress: &Progress,
    total: u64,
    senders: &mut tokio::task::JoinSet<Result<()>>,
) -> Result<()> {
    let bar = ProgressBar::new(total);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} confirmed  {msg}",
    )?);
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    let (mut before, mut at) = (0, Instant::now());
    let (mut killed, mut sent_at) = (false, None::<Instant>);
    let mut printed = Instant::now();
    loop {
        ticks.tick().await;
        while let Some(done) = senders.try_join_next() {
            done??;
        }
        let accepted = progress.accepted.load(Ordering::Relaxed);
        let rate = (accepted - before) as f64 / at.elapsed().as_secs_f64();
        (before, at) = (accepted, Instant::now());
        let counts: Vec<String> = parties
            .iter()
            .map(|p| {
                let stream = p.tenant.subscriber.with_tally(|t| t.positions());
                let hook = p.tenant.receiver.tally().positions();
                format!("{}: ws {stream} hook {hook}", p.tenant.slug)
            })
            .collect();
        let arrived: u64 = parties
            .iter()
            .map(|p| p.tenant.receiver.tally().positions())
            .sum::<u64>()
            .min(accepted);
        let message = format!(
            "{rate:.0}/s  lag {}  {}",
            accepted - arrived,
            counts.join("  ")
        );
        bar.set_position(accepted);
        if bar.is_hidden() && printed.elapsed() > Duration::from_secs(2) {
            println!("{accepted}/{total} confirmed  {message}");
            printed = Instant::now();
        }
        bar.set_message(message);
        if !killed && accepted >= total / 2 {
            killed = true;
            bar.suspend(|| println!("kill -9, and start again …"));
            for node in &mut deployment.nodes {
                node.kill()?;
                node.restart()?;
                node.ready().await?;
            }
        }
        let complete = parties.iter().all(|p| {
            p.tenant
                .subscriber
                .with_tally(|t| t.is_complete(&p.expected))
                && p.tenant.receiver.tally().is_complete(&p.expected)
        });
        if senders.is_empty() {
            let since = *sent_at.get_or_insert_with(Instant::now);
            if complete || since.elapsed() > ARRIVAL {
                break;
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Prints what was sent and what came, and whether that is right.
fn table(parties: &[Party], progress: &Progress) -> bool {
    let mut right = true;
    println!(
        "\n{:<8} {:>8} {:>10} {:>9} {:>9} {:>6} {:>9} {:>7}",
        "tenant", "sent", "positions", "webhook", "websocket", "lost", "repeated", "leaked"
    );
    for party in parties {
        let tenant = &party.tenant;
        let hook = tenant.receiver.tally();
        tenant.subscriber.with_tally(|stream| {
            let least = hook.positions().min(stream.positions());
            let missing = hook.ids().symmetric_difference(stream.ids()).count() as u64;
            let lost = (party.sent as u64).saturating_sub(least).max(missing);
            // A webhook may be repeated when a process dies between delivery and its cursor; its
            // id says so, and a receiver that remembers ids has it once.
            let repeated = stream.repeated()
                + (stream.positions().max(hook.positions())).saturating_sub(party.sent as u64);
            let leaked = stream.leaked() + hook.leaked();
            println!(
                "{:<8} {:>8} {:>10} {:>9} {:>9} {:>6} {:>9} {:>7}",
                tenant.slug,
                party.sent,
                stream.positions(),
                hook.events(),
                stream.events(),
                lost,
                repeated,
                leaked
            );
            right &= lost == 0 && repeated == 0 && leaked == 0;
            for (place, checked) in [
                ("websocket", stream.check(&party.expected)),
                ("webhook", hook.check(&party.expected)),
            ] {
                if let Err(error) = checked {
                    println!("  {place}: {error:#}");
                    right = false;
                }
            }
        });
        for failure in tenant.receiver.failures().iter().take(3) {
            println!("  webhook: {failure}");
            right = false;
        }
        if let Some(failure) = tenant.subscriber.failure() {
            println!("  websocket: {failure}");
            right = false;
        }
        if hook.repeated() > 0 {
            println!(
                "  {} webhook attempts were repeated under the same id, as after any crash",
                hook.repeated()
            );
        }
    }
    println!(
        "{} sends were repeated while the process was down. Counts, distances and windows {} the recomputation.",
        progress.retries.load(Ordering::Relaxed),
        if right { "equal" } else { "DO NOT equal" }
    );
    right
}

/// Says what to try, and waits for Ctrl-C.
async fn keep(deployment: &Deployment, parties: &[Party]) -> Result<()> {
    let base = deployment.control.base();
    let tenant = &parties[0].tenant;
    let (device, token) = tenant
        .tokens
        .first_key_value()
        .context("a tenant without devices")?;
    println!("\nStill running. Try, and end with Ctrl-C:\n");
    println!(
        "  curl -H 'Authorization: Bearer {}' {base}/devices/{device}/position",
        tenant.reader_key
    );
    println!(
        "  curl -N -H 'Authorization: Bearer {}' -H 'Accept: text/event-stream' {base}/stream",
        tenant.reader_key
    );
    println!(
        "  curl -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\\n       \
         -d '{{\"recorded_at\":\"2026-01-01T00:00:00Z\",\"lat\":52.52,\"lon\":13.405}}' {base}/location/update"
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}
