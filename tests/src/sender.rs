//! Devices that send their trace, session and all, and send again whatever was not confirmed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use laneway_testkit::{Fix, wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Client, Reply};
use crate::deployment::Deployment;
use crate::tenant::Tenant;

/// Between tries while a server is down.
const PAUSE: Duration = Duration::from_millis(100);
/// A server that is down for longer is not coming back.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a trace that takes longer, something is wrong.
const BOUND: Duration = Duration::from_secs(600);

/// How far the senders are.
#[derive(Debug, Default)]
pub struct Progress {
    pub accepted: AtomicU64,
    pub retries: AtomicU64,
}

/// Sends fixes in batches, each device in its own order. `tokens` by device.
pub struct Sender {
    pub client: Client,
    pub tokens: Arc<BTreeMap<String, String>>,
    pub batch: usize,
    /// Devices that send at once.
    pub concurrency: usize,
    /// Events a second over all devices; none is as fast as it goes.
    pub rate: Option<u32>,
    pub progress: Arc<Progress>,
}

impl Sender {
    /// Sends all of a trace: a session per device from its first fix to its last.
    pub async fn send(&self, trace: &[Fix]) -> Result<()> {
        let mut devices: BTreeMap<&str, Vec<Fix>> = BTreeMap::new();
        for fix in trace {
            devices.entry(&fix.device).or_default().push(fix.clone());
        }
        let pause = self.rate.map(|rate| {
            let streams = devices.len().min(self.concurrency).max(1);
            Duration::from_secs_f64((self.batch * streams) as f64 / f64::from(rate.max(1)))
        });
        let mut running: JoinSet<Result<()>> = JoinSet::new();
        for (device, fixes) in devices {
            if running.len() >= self.concurrency {
                running
                    .join_next()
                    .await
                    .context("a sender is running")???;
            }
            let token = self
                .tokens
                .get(device)
                .with_context(|| format!("no token for {device}"))?
                .clone();
            let (client, progress, batch) =
                (self.client.clone(), Arc::clone(&self.progress), self.batch);
            running.spawn(async move {
                send_device(&client, &token, &fixes, batch, pause, &progress).await
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// How a tenant's devices send: as in [`Sender`].
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub batch: usize,
    pub concurrency: usize,
    pub rate: Option<u32>,
}

/// Traces that are being sent, each by a tenant's devices.
pub struct Sending {
    client: Client,
    pace: Pace,
    progress: Arc<Progress>,
    total: u64,
    senders: JoinSet<Result<()>>,
}

impl Sending {
    pub fn new(deployment: &Deployment, pace: Pace) -> Self {
        Sending {
            client: deployment.ingest.clone(),
            pace,
            progress: Arc::default(),
            total: 0,
            senders: JoinSet::new(),
        }
    }

    /// Begins to send one more.
    pub fn begin(&mut self, tenant: &Tenant, trace: Vec<Fix>) {
        let sender = Sender {
            client: self.client.clone(),
            tokens: Arc::clone(&tenant.tokens),
            batch: self.pace.batch,
            concurrency: self.pace.concurrency,
            rate: self.pace.rate,
            progress: Arc::clone(&self.progress),
        };
        self.total += trace.len() as u64;
        self.senders.spawn(async move { sender.send(&trace).await });
    }

    /// Waits until that share of all fixes has been confirmed, in percent.
    pub async fn confirmed(&self, percent: u64) -> Result<()> {
        let share = self.total * percent / 100;
        wait::until("a share of the trace to be confirmed", BOUND, || async {
            self.progress.accepted.load(Ordering::Relaxed) >= share
        })
        .await
    }

    /// Waits until everything has been confirmed.
    pub async fn all(&mut self) -> Result<()> {
        while let Some(sent) = self.senders.join_next().await {
            sent??;
        }
        let accepted = self.progress.accepted.load(Ordering::Relaxed);
        ensure!(
            accepted == self.total,
            "{accepted} of {} were accepted",
            self.total
        );
        Ok(())
    }
}

async fn send_device(
    client: &Client,
    token: &str,
    fixes: &[Fix],
    batch: usize,
    pause: Option<Duration>,
    progress: &Progress,
) -> Result<()> {
    let (Some(first), Some(last)) = (fixes.first(), fixes.last()) else {
        return Ok(());
    };
    let session = "trip";
    let start = json!({ "session_id": session, "started_at": time(first.recorded_at_us)? });
    confirmed(client, "/location/session/start", token, &start, progress).await?;
    let mut clock = tokio::time::interval(pause.unwrap_or(Duration::from_millis(1)));
    for chunk in fixes.chunks(batch) {
        if pause.is_some() {
            clock.tick().await;
        }
        let items = chunk
            .iter()
            .map(|fix| fix_json(fix, session))
            .collect::<Result<Vec<_>>>()?;
        let body = json!({ "fixes": items });
        let answer = confirmed(client, "/location/update", token, &body, progress).await?;
        let accepted = answer["accepted"].as_u64().unwrap_or(0);
        ensure!(
            accepted == chunk.len() as u64,
            "{accepted} of {} accepted: {answer}",
            chunk.len()
        );
        progress.accepted.fetch_add(accepted, Ordering::Relaxed);
    }
    let stop = json!({ "stopped_at": time(last.recorded_at_us)? });
    confirmed(
        client,
        &format!("/location/session/{session}/stop"),
        token,
        &stop,
        progress,
    )
    .await?;
    Ok(())
}

fn fix_json(fix: &Fix, session: &str) -> Result<Value> {
    Ok(json!({
        "recorded_at": time(fix.recorded_at_us)?,
        "lat": fix.lat,
        "lon": fix.lon,
        "session_id": session,
    }))
}

fn time(micros: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_microsecond(micros)?.to_string())
}

/// Sends until it is confirmed: what was not may be durable, and sending it again is safe.
async fn confirmed(
    client: &Client,
    path: &str,
    token: &str,
    body: &Value,
    progress: &Progress,
) -> Result<Value> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let pause = match client.post(path, token, body).await {
            Ok(Reply { status, body, .. }) if status.is_success() => return Ok(body),
            Ok(reply) => match reply.retry_after() {
                Some(pause) => pause.min(Duration::from_secs(1)),
                None => bail!("{path} was refused: {} {}", reply.status, reply.text),
            },
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
            Err(_) => PAUSE,
        };
        ensure!(
            tokio::time::Instant::now() < deadline,
            "{path} was not confirmed within {PATIENCE:?}"
        );
        progress.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
    }
}
