//! Devices registered in bulk: answered line by line, while the body is still being read.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use laneway_runtime::Problem;
use laneway_tenancy::Grant;
use serde::Deserialize;
use utoipa::IntoParams;

use super::devices::DevicePath;
use crate::Control;
use crate::bulk::{Bulk, Format};
use crate::caller::Acting;
use crate::error::{ApiError, ApiResult};
use crate::json::{In, Params};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BulkQuery {
    /// Makes a token for each device that is registered, and shows it in its line.
    tokens: bool,
}

/// CSV with a header of `id`, `name`, `group`, `labels` (`a=1;b=2`) and `label.NAME`, or a device
/// as JSON in each line, as the Content-Type says; at most 100,000 lines. Answers a line of JSON
/// for each line, with progress between them and a summary at the end. The answer has to be read
/// while the body is sent: no more is read than is answered.
#[utoipa::path(post, path = "/devices/bulk", tag = "devices", params(BulkQuery),
    request_body(content(("text/csv"), ("application/x-ndjson"))),
    responses((status = 200, description = "Lines of JSON: `line`, `id` and `outcome` (`created`, `exists`, `invalid`, `limit-reached`), `progress`, and a `summary`", content_type = "application/x-ndjson"),
        (status = 415, description = "Neither CSV nor lines of JSON"), (status = 422, description = "The header is not valid")))]
pub(crate) async fn register(
    acting: Acting,
    control: Arc<Control>,
    In(path): In<DevicePath>,
    Params(query): Params<BulkQuery>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    if path.device.as_str() != "bulk" {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The resource has no such method",
            "",
        )
        .into());
    }
    let scope = acting.may(Grant::DevicesWrite)?.clone();
    let format = format(&headers)?;
    let bulk = Bulk::new(control, scope, format, query.tokens, body);
    // The first part before the head: until then a request can be refused as others are.
    let answer = bulk.answer().await?;
    Ok((
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(answer),
    )
        .into_response())
}

fn format(headers: &HeaderMap) -> ApiResult<Format> {
    let unsupported = |detail| {
        ApiError(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "The body is of another type",
            detail,
        ))
    };
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(unsupported("Send it without a Content-Encoding."));
    }
    let named = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = named.unwrap_or_default().split(';').next();
    match essence.unwrap_or_default().trim() {
        "text/csv" => Ok(Format::Csv),
        "application/x-ndjson" | "application/jsonl" => Ok(Format::Json),
        _ => Err(unsupported(
            "Send text/csv, or application/x-ndjson with a device in each line.",
        )),
    }
}
