//! One connection's share of the plan: batches, sessions, and trying again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, StatusCode};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::plan::{Plan, Step};
use crate::client::{Answer, Client};

/// Without one success for so long, it is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Reasons of refusals that are told apart.
const MAX_REASONS: usize = 20;

#[derive(Debug, Default)]
pub struct Counts {
    pub accepted: u64,
    pub refused: u64,
    pub retries: u64,
    pub reasons: BTreeMap<String, u64>,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.retries += other.retries;
        for (reason, n) in other.reasons {
            self.reason(reason, n);
        }
    }

    fn reason(&mut self, reason: String, n: u64) {
        let known = self.reasons.len() < MAX_REASONS || self.reasons.contains_key(&reason);
        *self
            .reasons
            .entry(if known {
                reason
            } else {
                "other reasons".to_owned()
            })
            .or_default() += n;
    }
}

pub struct Uploader {
    client: Client,
    names_devices: bool,
    sessions: bool,
    batch: usize,
    progress: ProgressBar,
    pending: Vec<Value>,
    counts: Counts,
}

impl Uploader {
    pub fn new(
        client: Client,
        names_devices: bool,
        sessions: bool,
        batch: usize,
        progress: ProgressBar,
    ) -> Self {
        Uploader {
            client,
            names_devices,
            sessions,
            batch,
            progress,
            pending: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub async fn run(
        mut self,
        plan: &Plan,
        worker: usize,
        of: usize,
        started: Instant,
    ) -> anyhow::Result<Counts> {
        for step in plan.steps(worker, of) {
            let due = started + plan.due(step.fix);
            if due > Instant::now() {
                self.flush().await?;
                tokio::time::sleep_until(due).await;
            }
            self.take(plan, &step).await?;
        }
        self.flush().await?;
        Ok(self.counts)
    }

    async fn take(&mut self, plan: &Plan, step: &Step<'_>) -> anyhow::Result<()> {
        let device = plan.device_name(step.device);
        let at = plan.at(step.fix);
        let session = self
            .sessions
            .then(|| format!("send-{:x}", plan.first_of(step.device)));
        if let Some(session) = session.as_ref().filter(|_| step.index == 0) {
            let body = self.about(
                &device,
                json!({"session_id": session, "started_at": time(at)?}),
            );
            self.session("/location/session/start", &body).await?;
        }
        let fix = step.fix;
        let mut sent = json!({
            // The same at every attempt, and when the file is sent again.
            "id": format!("{at:x}.{}", step.index),
            "recorded_at": time(at)?,
            "lat": fix.latitude,
            "lon": fix.longitude,
        });
        let extras = [
            ("altitude", fix.altitude),
            ("accuracy", fix.accuracy),
            ("speed", fix.speed),
            ("heading", fix.heading),
            ("battery", fix.battery),
        ];
        for (name, value) in extras
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
        {
            sent[name] = value.into();
        }
        if let Some(session) = &session {
            sent["session_id"] = session.as_str().into();
        }
        let sent = self.about(&device, sent);
        self.pending.push(sent);
        if self.pending.len() >= self.batch {
            self.flush().await?;
        }
        if let Some(session) = session.filter(|_| step.is_last) {
            self.flush().await?;
            let body = self.about(&device, json!({"stopped_at": time(at)?}));
            self.session(&format!("/location/session/{session}/stop"), &body)
                .await?;
        }
        Ok(())
    }

    /// With the device's name, where the credentials do not say it.
    fn about(&self, device: &str, mut value: Value) -> Value {
        if self.names_devices {
            value["device_id"] = device.into();
        }
        value
    }

    async fn session(&mut self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.until_answered(path, body.to_string().into()).await?;
        anyhow::ensure!(
            answer.status.is_success(),
            "a session was refused: {}",
            answer.refusal()
        );
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let fixes = std::mem::take(&mut self.pending);
        let sent = fixes.len() as u64;
        let body = json!({ "fixes": fixes }).to_string();
        let answer = self.until_answered("/location/update", body.into()).await?;
        match answer.status {
            StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => self.count(&answer, sent)?,
            StatusCode::PAYLOAD_TOO_LARGE => anyhow::bail!(
                "the batches are too large: {}; lower --batch",
                answer.refusal()
            ),
            _ => anyhow::bail!("the fixes were refused: {}", answer.refusal()),
        }
        self.progress.inc(sent);
        Ok(())
    }

    fn count(&mut self, answer: &Answer, sent: u64) -> anyhow::Result<()> {
        let answer = answer.json()?;
        let Some(accepted) = answer["accepted"].as_u64() else {
            // Refused as a whole, before it came to single fixes.
            self.counts.refused += sent;
            self.counts.reason(
                answer["title"]
                    .as_str()
                    .unwrap_or("without a reason")
                    .to_owned(),
                sent,
            );
            return Ok(());
        };
        self.counts.accepted += accepted;
        self.counts.refused += sent.saturating_sub(accepted);
        for result in answer["results"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|r| r["status"] == "refused")
        {
            let problem = &result["problem"];
            let reason = [&problem["title"], &problem["detail"]]
                .map(|t| t.as_str().unwrap_or_default())
                .join(": ");
            self.counts.reason(reason, 1);
        }
        Ok(())
    }

    /// Sends until there is an answer that trying again would not change.
    async fn until_answered(&mut self, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        let give_up = Instant::now() + GIVE_UP_AFTER;
        let mut pause = FIRST_PAUSE;
        loop {
            let result = self
                .client
                .request(Method::POST, path, Some(body.clone()))
                .await;
            let (wait, reason) = match result {
                Ok(answer) => match answer.status {
                    StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::GATEWAY_TIMEOUT
                    | StatusCode::REQUEST_TIMEOUT => (
                        answer.retry_after().unwrap_or(pause),
                        anyhow::anyhow!(answer.refusal()),
                    ),
                    _ => {
                        self.progress.set_message("");
                        return Ok(answer);
                    }
                },
                Err(error) => (pause, error),
            };
            if Instant::now() + wait > give_up {
                return Err(reason).with_context(|| {
                    format!("given up after {} s of trying", GIVE_UP_AFTER.as_secs())
                });
            }
            self.counts.retries += 1;
            self.progress.set_message(format!("trying again: {reason}"));
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn time(us: i64) -> anyhow::Result<String> {
    let time = jiff::Timestamp::from_microsecond(us)
        .with_context(|| format!("{us} µs is no time that can be sent"))?;
    Ok(time.to_string())
}
