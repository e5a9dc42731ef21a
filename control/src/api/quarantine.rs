//! The operator's view of what the processor refused, and its way back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_log::Records;
use laneway_runtime::Problem;
use laneway_schemas::Quarantined;
use laneway_tenancy::OperatorScope;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, micros, time};
use crate::Control;
use crate::caller::{Operator, find_tenant};
use crate::error::{ApiError, ApiResult};
use crate::json::{Json, Params, answer};
use crate::quarantine::{Found, Place, Quarantine, Redriver};

/// Records that one request lists or redrives, at most.
const MOST: u32 = 1000;

/// Which records, and how many of them.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Selection {
    /// The code of the reason, such as `unknown-device`.
    reason: Option<String>,
    /// The tenant in the record's key, by slug or id.
    tenant: Option<String>,
    /// The topic that it came from.
    topic: Option<String>,
    /// The partition that it was refused in.
    partition: Option<u32>,
    /// Received at this time or after it, RFC 3339.
    since: Option<String>,
    /// Received before this time, RFC 3339.
    until: Option<String>,
    /// Goes on after this position: `next` of the answer before.
    after: Option<String>,
    /// At most so many, up to 1000; 100 where it is not said.
    limit: Option<u32>,
}

/// A record that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantinedView {
    /// Its position in the quarantine.
    position: String,
    /// Why, as a stable code.
    reason: String,
    /// Why, in words.
    detail: String,
    /// The topic that it came from.
    topic: String,
    /// The partition that it came from.
    partition: i32,
    /// The offset that it had there.
    offset: i64,
    key: String,
    /// When it was received where that is known, else when it was appended.
    received_at: String,
    /// Bytes of its value; none where that is too large to be kept.
    value_bytes: Option<usize>,
}

impl From<Found> for QuarantinedView {
    fn from(found: Found) -> Self {
        let record = found.record;
        QuarantinedView {
            position: found.place.to_string(),
            key: String::from_utf8_lossy(&record.key).into_owned(),
            received_at: time(record.refused_at),
            value_bytes: record.value.as_ref().map(|v| v.len()),
            reason: record.reason,
            detail: record.detail,
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
        }
    }
}

#[utoipa::path(get, path = "/operator/quarantine", tag = "operator", params(Selection),
    responses((status = 200, body = Page<QuarantinedView>)))]
pub(crate) async fn list(
    Operator(operator): Operator,
    control: Arc<Control>,
    Params(selection): Params<Selection>,
) -> ApiResult<Response> {
    let (found, next) = read(&control, &operator, &selection).await?;
    let page = Page {
        items: found.into_iter().map(QuarantinedView::from).collect(),
        next: next.map(|place| place.to_string()),
    };
    Ok(answer(StatusCode::OK, &page))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuarantineRedrive {
    /// Those at these positions, at most 1000.
    Positions(Vec<String>),
    /// Those that the selection names; it has to name more than a page.
    Matching(Selection),
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// Records that were appended again: durable by now.
    redriven: u64,
    /// Records that were not.
    left: Vec<Left>,
    /// Given where there may be more that match: `after` of the next request.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Left {
    position: String,
    why: &'static str,
}

/// Appends refused records to the topic that they came from. One that was refused because its
/// tenant or device was not known is judged by what is known now; any other is judged as before.
/// Repeating it is safe: the processor drops what it has seen. What is of a device that is not
/// registered, or of a tenant that is closed, stays: it may have been erased.
#[utoipa::path(post, path = "/operator/quarantine/redrive", tag = "operator", request_body = QuarantineRedrive,
    responses((status = 200, body = Redriven)))]
pub(crate) async fn redrive(
    Operator(operator): Operator,
    control: Arc<Control>,
    Json(what): Json<QuarantineRedrive>,
) -> ApiResult<Response> {
    let mut done = Redriven::default();
    control.trail.begun(&control.deps).await?;
    match what {
        QuarantineRedrive::Positions(positions) => {
            for mut places in by_partition(&positions)? {
                let mut missing = places.clone();
                while !places.is_empty() {
                    let found = quarantine(&control).find(&mut places).await;
                    let found = found.map_err(log_trouble)?;
                    missing.retain(|place| found.iter().all(|f| f.place != *place));
                    send(&control, &operator, &found, &mut done).await?;
                }
                done.left.extend(missing.iter().map(|place| Left {
                    position: place.to_string(),
                    why: "there is no such record (any more)",
                }));
            }
        }
        QuarantineRedrive::Matching(selection) => {
            if !selection.names_something() {
                return Err(ApiError::invalid(
                    "matching: name a reason, a tenant, a topic, a partition or a time.",
                ));
            }
            let (found, next) = read(&control, &operator, &selection).await?;
            send(&control, &operator, &found, &mut done).await?;
            done.next = next.map(|place| place.to_string());
        }
    }
    tracing::info!(target: "audit", redriven = done.redriven, left = done.left.len(), "the operator redrove quarantined records");
    Ok(answer(StatusCode::OK, &done))
}

impl Selection {
    fn names_something(&self) -> bool {
        self.partition.is_some()
            || [
                &self.reason,
                &self.tenant,
                &self.topic,
                &self.since,
                &self.until,
            ]
            .iter()
            .any(|field| field.is_some())
    }
}

async fn read(
    control: &Control,
    operator: &OperatorScope,
    selection: &Selection,
) -> ApiResult<(Vec<Found>, Option<Place>)> {
    let prefix = match &selection.tenant {
        Some(name) => Some(format!(
            "{}/",
            find_tenant(control, operator, name).await?.id
        )),
        None => None,
    };
    let since = micros("since", selection.since.as_deref())?;
    let until = micros("until", selection.until.as_deref())?;
    let after = selection.after.as_deref().map(place).transpose()?;
    let limit = selection.limit.unwrap_or(100).clamp(1, MOST) as usize;
    let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
    let wanted = |record: &Quarantined| {
        same(&selection.reason, &record.reason)
            && same(&selection.topic, &record.topic)
            && prefix
                .as_ref()
                .is_none_or(|p| record.key.starts_with(p.as_bytes()))
            && since.is_none_or(|since| record.refused_at >= since)
            && until.is_none_or(|until| record.refused_at < until)
    };
    quarantine(control)
        .list(selection.partition, after, limit, wanted)
        .await
        .map_err(log_trouble)
}

/// Appends what can be; returns after that is durable.
async fn send(
    control: &Control,
    operator: &OperatorScope,
    found: &[Found],
    done: &mut Redriven,
) -> ApiResult<()> {
    let deps = &control.deps;
    let mut redriver = Redriver {
        store: &deps.store,
        operator,
        authority: &deps.authority,
        log: &*deps.log,
        codecs: &deps.codecs,
        now_ms: deps.clock.now_us() / 1000,
        tenants: HashMap::new(),
        devices: HashMap::new(),
    };
    let mut records = Records::new();
    for Found { place, record } in found {
        if let Err(why) = redriver.push(record, &mut records).await? {
            let position = place.to_string();
            done.left.push(Left { position, why });
        }
    }
    let count = records.len();
    if count > 0 {
        let appended = deps.log.append(records).await;
        appended.map_err(|error| log_trouble(error.into()))?;
    }
    done.redriven += count as u64;
    Ok(())
}

fn quarantine(control: &Control) -> Quarantine<'_> {
    Quarantine {
        log: &*control.deps.log,
        codecs: &control.deps.codecs,
    }
}

/// The positions of each partition, ascending, each once.
fn by_partition(positions: &[String]) -> ApiResult<Vec<VecDeque<Place>>> {
    if positions.len() > MOST as usize {
        return Err(ApiError::invalid(format!("positions: at most {MOST}.")));
    }
    let parsed = positions.iter().map(|text| place(text));
    let mut places: Vec<Place> = parsed.collect::<ApiResult<_>>()?;
    places.sort_unstable();
    places.dedup();
    let of_one = places.chunk_by(|a, b| a.partition == b.partition);
    Ok(of_one
        .map(|chunk| chunk.iter().copied().collect())
        .collect())
}

fn place(text: &str) -> ApiResult<Place> {
    text.parse()
        .map_err(|error| ApiError::invalid(format!("{error}.")))
}

pub(super) fn log_trouble(error: anyhow::Error) -> ApiError {
    tracing::warn!(
        error = format!("{error:#}"),
        "the quarantine cannot be read or redriven"
    );
    Problem::unavailable("The log is unavailable.").into()
}
