//! What a receiver got, as CloudEvents: each event id once, the last revision of each entity.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::recompute::{DeviceTotals, close};

#[derive(Debug, Clone)]
struct LastRevision {
    revision: u64,
    data: Value,
}

/// Events of one tenant, as one receiver got them.
#[derive(Debug, Default)]
pub struct Tally {
    /// The tenant that every event must be of.
    tenant: Option<String>,
    seen: HashSet<String>,
    repeated: u64,
    leaked: u64,
    out_of_order: u64,
    positions: HashMap<String, Vec<i64>>,
    latest: HashMap<String, i64>,
    sessions: BTreeMap<(String, String), LastRevision>,
    windows: BTreeMap<(String, String), LastRevision>,
    by_type: BTreeMap<String, u64>,
}

impl Tally {
    pub fn of_tenant(tenant: impl Into<String>) -> Self {
        Tally {
            tenant: Some(tenant.into()),
            ..Tally::default()
        }
    }

    /// Counts an event; one whose id came before is a repeat and changes nothing else.
    pub fn add(&mut self, event: &Value) -> Result<()> {
        let text = |name: &str| {
            event[name]
                .as_str()
                .with_context(|| format!("an event without `{name}`: {event}"))
        };
        let data = &event["data"];
        let kind = text("type")?;
        if let Some(tenant) = &self.tenant
            && (text("tenantid")? != tenant || data["tenant_id"].as_str() != Some(tenant))
        {
            self.leaked += 1;
            return Ok(());
        }
        if !self.seen.insert(text("id")?.to_owned()) {
            self.repeated += 1;
            return Ok(());
        }
        *self.by_type.entry(kind.to_owned()).or_default() += 1;
        if ["laneway.quota.warning", "laneway.notice"].contains(&kind) {
            // About the tenant as a whole.
            return Ok(());
        }
        let device = data["device_id"]
            .as_str()
            .context("an event without a device")?
            .to_owned();
        match kind {
            "laneway.position" => {
                let at = micros(&data["recorded_at"])?;
                if self
                    .latest
                    .insert(device.clone(), at)
                    .is_some_and(|before| before > at)
                {
                    self.out_of_order += 1;
                }
                self.positions.entry(device).or_default().push(at);
            }
            "laneway.session.updated" | "laneway.session.stopped" => {
                let session = data["session_id"]
                    .as_str()
                    .context("a session without its id")?;
                keep_last(&mut self.sessions, (device, session.to_owned()), data)?;
            }
            "laneway.window" => {
                let start = data["window_start"]
                    .as_str()
                    .context("a window without a start")?;
                keep_last(&mut self.windows, (device, start.to_owned()), data)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub fn positions(&self) -> u64 {
        self.by_type.get("laneway.position").copied().unwrap_or(0)
    }

    pub fn events(&self) -> u64 {
        self.seen.len() as u64
    }

    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    pub fn leaked(&self) -> u64 {
        self.leaked
    }

    /// Positions that came after a later one of their device. None, where the device sent them in
    /// order.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    pub fn stopped_sessions(&self) -> u64 {
        self.sessions
            .values()
            .filter(|s| !s.data["stopped_at"].is_null())
            .count() as u64
    }

    pub fn by_type(&self) -> &BTreeMap<String, u64> {
        &self.by_type
    }

    /// Ids that were seen.
    pub fn ids(&self) -> &HashSet<String> {
        &self.seen
    }

    /// Whether all that `expected` names has come, but for windows that are still open.
    pub fn is_complete(&self, expected: &BTreeMap<String, DeviceTotals>) -> bool {
        let positions: usize = expected.values().map(|d| d.positions.len()).sum();
        let windows: usize = expected.values().map(|d| d.windows.len()).sum();
        self.positions() as usize >= positions
            && self.stopped_sessions() as usize >= expected.len()
            && self.windows.len() >= windows
    }

    /// Compares with the recomputation of the devices of this tenant.
    pub fn check(&self, expected: &BTreeMap<String, DeviceTotals>) -> Result<()> {
        ensure!(self.leaked == 0, "{} events of other tenants", self.leaked);
        for (device, totals) in expected {
            let mut positions = self.positions.get(device).cloned().unwrap_or_default();
            positions.sort_unstable();
            ensure!(
                positions == totals.positions,
                "{device}: {} positions came, {} were sent",
                positions.len(),
                totals.positions.len()
            );
            self.check_windows(device, totals)?;
            self.check_session(device, totals)?;
        }
        let devices = self.positions.len();
        ensure!(
            devices == expected.len(),
            "positions of {devices} devices came, {} sent",
            expected.len()
        );
        Ok(())
    }

    fn check_windows(&self, device: &str, totals: &DeviceTotals) -> Result<()> {
        let mut came = BTreeMap::new();
        let of_device = self.windows.range((device.to_owned(), String::new())..);
        for ((_, start), last) in of_device.take_while(|((d, _), _)| d == device) {
            came.insert(micros(&Value::from(start.as_str()))?, last);
        }
        ensure!(
            came.keys().eq(totals.windows.keys()),
            "{device}: {} windows came, {} were expected",
            came.len(),
            totals.windows.len()
        );
        for (start, window) in &totals.windows {
            let data = &came[start].data;
            let speed = data["max_speed_mps"].as_f64();
            ensure!(
                data["fixes"].as_u64() == Some(window.fixes)
                    && data["distance_m"]
                        .as_f64()
                        .is_some_and(|d| close(d, window.distance_m))
                    && match (speed, window.max_speed_mps) {
                        (Some(a), Some(b)) => close(a, b),
                        (a, b) => a == b,
                    },
                "{device}: the window from {start} is {data}, expected {window:?}"
            );
        }
        Ok(())
    }

    fn check_session(&self, device: &str, totals: &DeviceTotals) -> Result<()> {
        let of_device: Vec<_> = self
            .sessions
            .iter()
            .filter(|((d, _), _)| d == device)
            .collect();
        let [(_, last)] = of_device.as_slice() else {
            anyhow::bail!(
                "{device}: {} sessions came, 1 was expected",
                of_device.len()
            );
        };
        let (data, session) = (&last.data, &totals.session);
        ensure!(
            data["fixes"].as_u64() == Some(session.fixes)
                && data["distance_m"]
                    .as_f64()
                    .is_some_and(|d| close(d, session.distance_m))
                && data["duration_s"]
                    .as_f64()
                    .is_some_and(|d| close(d, session.duration_s)),
            "{device}: the session is {data}, expected {session:?}"
        );
        Ok(())
    }
}

fn keep_last(
    entities: &mut BTreeMap<(String, String), LastRevision>,
    key: (String, String),
    data: &Value,
) -> Result<()> {
    let revision = data["revision"]
        .as_u64()
        .context("an event without a revision")?;
    match entities.get(&key) {
        Some(known) if known.revision >= revision => {}
        _ => {
            entities.insert(
                key,
                LastRevision {
                    revision,
                    data: data.clone(),
                },
            );
        }
    }
    Ok(())
}

fn micros(time: &Value) -> Result<i64> {
    let text = time
        .as_str()
        .with_context(|| format!("a time that is not text: {time}"))?;
    let time: jiff::Timestamp = text.parse().with_context(|| format!("the time {text:?}"))?;
    Ok(time.as_microsecond())
}
