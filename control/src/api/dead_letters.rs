//! Dead letters of a destination: events that it kept refusing while it took others.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use laneway_log::{Records, Topic};
use laneway_runtime::Problem;
use laneway_schemas::DestinationRedrive;
use laneway_schemas::sink::redrive_key;
use laneway_tenancy::Grant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::destinations::{DestinationPath, found};
use super::page::{Page, PageQuery, time};
use crate::Control;
use crate::caller::Acting;
use crate::deliveries::Parked;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Json, Params, answer};

/// Most dead letters that one request names.
const MOST: usize = 1000;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterView {
    /// The event's id: its `webhook-id`.
    event_id: String,
    device: String,
    /// What the receiver answered at last.
    reason: String,
    /// Refusals before it was parked.
    attempts: u32,
    parked_at: String,
    lane: i32,
}

impl DeadLetterView {
    fn new(parked: Parked) -> Self {
        let letter = parked.letter;
        DeadLetterView {
            event_id: letter.event_id,
            device: letter.device,
            reason: letter.reason,
            attempts: letter.attempts,
            parked_at: time(letter.parked_at),
            lane: parked.lane,
        }
    }
}

#[utoipa::path(get, path = "/destinations/{destination}/dead-letters", tag = "destinations",
    params(("destination" = String, Path), PageQuery),
    responses((status = 200, description = "By event id", body = Page<DeadLetterView>), (status = 404)))]
pub(crate) async fn list(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DestinationPath>,
    Params(page): Params<PageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsRead)?;
    let id = found(&control, scope, path).await?.id;
    let after: String = page.after()?.unwrap_or_default();
    let (limit, of) = (page.limit(), (scope.tenant(), id));
    let codecs = &control.deps.codecs;
    let letters = control.deliveries.dead(codecs, of, &after, limit as usize);
    let items = letters.await?.into_iter().map(DeadLetterView::new);
    Ok(Page::answer(items, &page, |l| l.event_id.clone()))
}

/// Either `events` or `all`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redrive {
    /// Ids of the events to deliver again, up to 1000.
    #[serde(default)]
    events: Vec<String>,
    /// All that are dead letters now.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriving {
    /// Dead letters that are delivered again, under their ids; those that are refused once more
    /// are parked anew.
    redriving: usize,
}

#[utoipa::path(post, path = "/destinations/{destination}/dead-letters/redrive", tag = "destinations",
    params(("destination" = String, Path)), request_body = Redrive,
    responses((status = 202, body = Redriving),
        (status = 404, description = "There is no such destination, or one of the events is no dead letter of it"),
        (status = 422)))]
pub(crate) async fn redrive(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DestinationPath>,
    Json(request): Json<Redrive>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::DestinationsWrite)?;
    if request.all != request.events.is_empty() || request.events.len() > MOST {
        return Err(ApiError::invalid(format!(
            "Name events, up to {MOST}, or say \"all\": true."
        )));
    }
    let id = found(&control, scope, path).await?.id;
    let of = (scope.tenant(), id);
    let (deps, codecs) = (&control.deps, &control.deps.codecs);
    let mut letters = Vec::new();
    if request.all {
        letters = control.deliveries.dead(codecs, of, "", usize::MAX).await?;
    }
    for event in &request.events {
        let letter = control.deliveries.dead_letter(codecs, of, event).await?;
        letters.push(letter.ok_or_else(ApiError::not_found)?);
    }
    let redriving = letters.len();
    if redriving > 0 {
        // What is a dead letter now is meant, whatever the clock of the sink that parked it says.
        let parked_at = letters.iter().map(|l| l.letter.parked_at).max();
        let now_us = deps.clock.now_us();
        let ask = |event_id: Option<String>, lane: Option<i32>| DestinationRedrive {
            tenant_id: scope.tenant().to_string(),
            destination_id: id.to_string(),
            event_id,
            lane,
            requested_at: parked_at.map_or(now_us, |at| at.max(now_us)),
        };
        let requests = if request.all {
            vec![ask(None, None)]
        } else {
            let one = |l: Parked| ask(Some(l.letter.event_id), Some(l.lane));
            letters.into_iter().map(one).collect()
        };
        control.trail.begun(deps).await?;
        append(&control, &requests).await?;
        tracing::info!(tenant = acting.slug, destination = %id, redriving, "dead letters are redriven");
    }
    Ok(answer(StatusCode::ACCEPTED, &Redriving { redriving }))
}

/// Asks the sinks, by way of the log.
async fn append(control: &Control, requests: &[DestinationRedrive]) -> ApiResult<()> {
    let deps = &control.deps;
    let now_ms = deps.clock.now_ms();
    let mut records = Records::new();
    let mut value = Vec::new();
    for request in requests {
        value.clear();
        deps.codecs.encode(request, &mut value).map_err(|error| {
            tracing::error!(%error, "a request to redrive cannot be encoded");
            ApiError::internal()
        })?;
        let (tenant, id) = (&request.tenant_id, &request.destination_id);
        let key = redrive_key(tenant, id, request.event_id.as_deref());
        records.push(Topic::SinkSignals, 0, now_ms, key.as_bytes(), [], &value);
    }
    deps.log.append(records).await.map_err(|error| {
        tracing::warn!(%error, "dead letters cannot be redriven");
        Problem::unavailable("The log is unavailable.").into()
    })
}
