//! Who sends, and a request's body: JSON, bounded in size and time.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;
use laneway_runtime::Problem;
use laneway_runtime::http::Peer;
use laneway_runtime::http::body::{self, BodyLimits};
use laneway_tenancy::Authenticated;

use super::authenticate;
use crate::accept::Endpoint;
use crate::{Ingest, IngestSettings};

/// A request that is being read. Nothing of it is kept while its answer waits for the log.
pub type Sent<'a> = BoxFuture<'a, Result<(Authenticated, Bytes), Problem>>;

/// Who sends is known before anything of the body is read.
pub async fn received(
    ingest: &Ingest,
    endpoint: Endpoint,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<(Authenticated, Bytes), Problem> {
    let (head, incoming) = request.into_parts();
    let (headers, named) = (&head.headers, &head.extensions);
    let who = authenticate::sender(ingest, endpoint, headers, named, &peer).await?;
    let bytes = read(headers, incoming, &ingest.settings).await?;
    Ok((who, bytes))
}

async fn read(
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
