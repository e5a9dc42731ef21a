//! How a destination is: how far behind, whether it waits, what went wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use laneway_log::{Log, LogError, Topic};
use laneway_runtime::Problem;
use laneway_schemas::SinkCursor;
use laneway_tenancy::{Grant, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use super::destinations::{DestinationPath, DestinationStateView, found, state};
use super::page::time;
use crate::Control;
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, answer};

/// How long and how far the oldest undelivered event is looked for.
const PATIENCE: Duration = Duration::from_secs(2);
const RECORDS: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BreakerView {
    /// Events are delivered as they come.
    Closed,
    /// After failures in a row it waits as a whole, then is asked by one attempt at a time.
    Open,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusView {
    state: DestinationStateView,
    breaker: BreakerView,
    /// While the breaker is open: when the next attempt is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error_at: Option<String>,
    /// Events in the tenant's lanes that it has not been through: all that it still has to get
    /// are among them.
    lag: u64,
    /// Of those, events that were read and are still to be delivered.
    waiting: u64,
    /// Since when the oldest event that it has not been through is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_undelivered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_undelivered_seconds: Option<i64>,
    dead_letters: usize,
}

#[utoipa::path(get, path = "/destinations/{destination}/status", tag = "destinations",
    params(("destination" = String, Path)), responses((status = 200, body = StatusView), (status = 404)))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DestinationPath>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsRead)?;
    let destination = found(&control, scope, path).await?;
    let (tenant, id) = (scope.tenant(), destination.id);
    let (deps, deliveries) = (&control.deps, &control.deliveries);
    let cursors = deliveries.cursors(&deps.codecs, tenant, id).await?;
    let health = deliveries.health(&deps.codecs, tenant, id).await?;
    let dead_letters = deliveries.count_dead(tenant, id)?;
    let lanes = deps.directory.tenant(tenant);
    let lanes = lanes.map_or_else(Vec::new, |t| t.body.placement.lanes.clone());
    let behind = behind(&*deps.log, &lanes, &cursors)
        .await
        .map_err(trouble)?;
    let oldest = oldest(&*deps.log, tenant, &behind).await.map_err(trouble)?;

    let now_us = deps.clock.now_us();
    let open = health.as_ref().filter(|h| h.open);
    let error = health
        .as_ref()
        .and_then(|h| h.error.clone().zip(h.failed_at));
    let (last_error, last_error_at) = error.unzip();
    Ok(answer(
        StatusCode::OK,
        &StatusView {
            state: state(destination.body.state),
            breaker: if open.is_some() {
                BreakerView::Open
            } else {
                BreakerView::Closed
            },
            next_attempt_at: open.map(|h| time(h.until)),
            last_error,
            last_error_at: last_error_at.map(time),
            lag: behind.values().map(|b| b.lag).sum(),
            waiting: behind.values().map(|b| b.open.len() as u64).sum(),
            oldest_undelivered_at: oldest.map(time),
            oldest_undelivered_seconds: oldest.map(|at| ((now_us - at) / 1_000_000).max(0)),
            dead_letters,
        },
    ))
}

fn trouble(error: LogError) -> ApiError {
    tracing::warn!(%error, "how a destination is cannot be told");
    Problem::unavailable("The log is unavailable.").into()
}

/// What a destination has not been through in a lane.
#[derive(Debug, PartialEq, Eq)]
struct Behind {
    lag: u64,
    /// Offsets below `next` that are still to be delivered.
    open: Vec<u64>,
    next: u64,
    end: u64,
}

impl Behind {
    /// By what a cursor's record means: see the sink's.
    fn of(cursor: Option<&SinkCursor>, committed: u64, earliest: u64, end: u64) -> Self {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let next = match cursor {
            None => committed,
            Some(cursor) if cursor.riding => number(cursor.offset).max(committed),
            Some(cursor) => number(cursor.offset),
        };
        let next = next.max(earliest);
        let open = cursor.into_iter().flat_map(|c| c.open.iter().copied());
        let open: Vec<u64> = open
            .map(number)
            .filter(|o| (earliest..next).contains(o))
            .collect();
        Behind {
            lag: end.saturating_sub(next) + open.len() as u64,
            open,
            next,
            end,
        }
    }
}

async fn behind(
    log: &dyn Log,
    lanes: &[u32],
    cursors: &[SinkCursor],
) -> Result<BTreeMap<u32, Behind>, LogError> {
    let committed = log.committed("sink", Topic::TenantStreams).await?;
    let mut behind = BTreeMap::new();
    for lane in lanes {
        let bounds = log.bounds(Topic::TenantStreams, *lane).await?;
        let committed = committed.get(*lane as usize).copied().flatten();
        let cursor = cursors.iter().find(|c| u32::try_from(c.lane) == Ok(*lane));
        // Where nothing was ever committed, destinations begin at the end.
        let committed = committed.unwrap_or(bounds.last_stable);
        let (earliest, end) = (bounds.earliest, bounds.last_stable);
        behind.insert(*lane, Behind::of(cursor, committed, earliest, end));
    }
    Ok(behind)
}

/// When the oldest of the tenant's events among them was appended, in microseconds.
async fn oldest(
    log: &dyn Log,
    tenant: TenantId,
    behind: &BTreeMap<u32, Behind>,
) -> Result<Option<i64>, LogError> {
    let mut oldest: Option<i64> = None;
    for (lane, behind) in behind.iter().filter(|(_, b)| b.lag > 0) {
        let looked = tokio::time::timeout(PATIENCE, first(log, tenant, *lane, behind)).await;
        if let Ok(at) = looked {
            oldest = [oldest, at?].into_iter().flatten().min();
        }
    }
    Ok(oldest)
}

async fn first(
    log: &dyn Log,
    tenant: TenantId,
    lane: u32,
    behind: &Behind,
) -> Result<Option<i64>, LogError> {
    let from = behind.open.first().copied().unwrap_or(behind.next);
    let prefix = format!("{tenant}/");
    let mut reader = log.reader(Topic::TenantStreams, vec![(lane, from)]).await?;
    let mut seen = 0;
    loop {
        let batch = reader.next().await?;
        let undelivered = |offset: u64| offset >= behind.next || behind.open.contains(&offset);
        let mut records = batch.iter();
        let found = records.find(|r| undelivered(r.offset) && r.key.starts_with(prefix.as_bytes()));
        if let Some(record) = found {
            return Ok(Some(record.timestamp_ms.saturating_mul(1000)));
        }
        seen += batch.len();
        if batch.next_offset() >= behind.end || seen > RECORDS {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(offset: i64, open: &[i64], riding: bool) -> SinkCursor {
        SinkCursor {
            tenant_id: String::new(),
            destination_id: String::new(),
            generation: 1,
            lane: 0,
            offset,
            open: open.to_vec(),
            riding,
            dead: None,
            delivered: 0,
        }
    }

    #[test]
    fn the_lag_is_what_it_has_not_been_through() {
        let lag = |cursor: Option<SinkCursor>, earliest| {
            Behind::of(cursor.as_ref(), 90, earliest, 100).lag
        };
        assert_eq!(lag(None, 0), 10, "it rides with the group");
        assert_eq!(lag(Some(cursor(50, &[], true)), 0), 10);
        assert_eq!(lag(Some(cursor(50, &[], false)), 0), 50);
        assert_eq!(lag(Some(cursor(95, &[20, 30], true)), 0), 7);
        assert_eq!(
            lag(Some(cursor(50, &[20, 30], false)), 60),
            40,
            "the rest is gone"
        );
    }
}
