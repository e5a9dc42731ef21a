//! A request's body: JSON, bounded in size and time.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::body::{self, BodyLimits};

use crate::IngestSettings;

pub async fn read(
    headers: &HeaderMap,
    incoming: Incoming,
    settings: &IngestSettings,
) -> Result<Bytes, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            "The body's type is not supported",
            "Send JSON, as `Content-Type: application/json` or without a type.",
        ));
    }
    let limits = BodyLimits {
        bytes: settings.max_body_bytes,
        decompressed_bytes: settings.max_body_bytes,
        timeout: settings.body_timeout(),
    };
    body::read(headers, incoming, limits).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let essence = value
        .as_bytes()
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}
