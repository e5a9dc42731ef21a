//! Bodies: made from bytes and JSON, and read within bounds.

use std::io::Read;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::{Body, BodyError};
use crate::Problem;

/// zstd's window, and so the memory of a decoder, is at most 8 MiB (2 to this power).
const ZSTD_WINDOW_LOG: u32 = 23;
/// What is reserved ahead on the client's word.
const RESERVE: u64 = 64 * 1024;

pub fn empty() -> Body {
    full(Bytes::new())
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A router's body, sent as it comes.
pub fn streamed(body: axum::body::Body) -> Body {
    Streamed(Mutex::new(body)).boxed()
}

/// A router's bodies are not `Sync`, as ours have to be. Nobody ever waits for the lock: who sends
/// a body has it alone.
struct Streamed(Mutex<axum::body::Body>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut().0.get_mut();
        let body = Pin::new(body.unwrap_or_else(PoisonError::into_inner));
        body.poll_frame(context).map_err(Into::into)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }
}

/// A response with a body of JSON.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => {
            tracing::error!(%error, "a response cannot be written as JSON");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here",
                "",
            )
            .into_response()
        }
    }
}

pub fn with_type(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Bounds on a request's body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// As sent.
    pub bytes: usize,
    /// After decompression.
    pub decompressed_bytes: usize,
    /// From its first byte to its last.
    pub timeout: Duration,
}

/// Reads a whole body and undoes its `Content-Encoding` (gzip, zstd, or none).
pub async fn read<B>(headers: &HeaderMap, body: B, limits: BodyLimits) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    // Before anything is read, so that nothing is read in vain.
    let encoding = Encoding::of(headers)?;
    let announced = body.size_hint().lower();
    if announced > limits.bytes as u64 {
        return Err(too_large(limits.bytes));
    }
    let mut collecting = std::pin::pin!(collect(body, announced, limits.bytes));
    // Nearly every body came with its head, and needs no timer.
    let collected = match futures_util::poll!(collecting.as_mut()) {
        Poll::Ready(collected) => Ok(collected),
        Poll::Pending => Box::pin(tokio::time::timeout(limits.timeout, collecting)).await,
    };
    let bytes = collected.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "The body came too slowly",
            format!(
                "Send all of the body within {} s.",
                limits.timeout.as_secs()
            ),
        )
    })??;
    match encoding {
        Encoding::Identity => Ok(bytes),
        encoding => decompress(encoding, &bytes, limits.decompressed_bytes),
    }
}

async fn collect<B>(body: B, announced: u64, limit: usize) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::bad_request(format!(
                "The body ended early: {}",
                Into::<BodyError>::into(error)
            ))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        // Most bodies are one frame, which is taken as it is.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(announced.min(RESERVE) as usize);
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Encoding::Identity);
        };
        let name = value.to_str().unwrap_or_default().trim();
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            Ok(Encoding::Identity)
        } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            Ok(Encoding::Gzip)
        } else if name.eq_ignore_ascii_case("zstd") {
            Ok(Encoding::Zstd)
        } else {
            Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-encoding",
                "The body's encoding is not supported",
                "Send it as gzip, as zstd, or as it is.",
            ))
        }
    }
}

fn decompress(encoding: Encoding, bytes: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    let bound = limit as u64 + 1;
    let result = match encoding {
        Encoding::Identity => std::io::Cursor::new(bytes)
            .take(bound)
            .read_to_end(&mut out),
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(bytes)
            .take(bound)
            .read_to_end(&mut out),
        Encoding::Zstd => {
            zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                decoder.take(bound).read_to_end(&mut out)
            })
        }
    };
    result.map_err(|error| {
        Problem::bad_request(format!("The body cannot be decompressed: {error}"))
    })?;
    if out.len() > limit {
        return Err(too_large(limit));
    }
    Ok(out.into())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        format!("At most {limit} bytes, also after decompression: send several smaller requests."),
    )
}

#[cfg(test)]
mod tests;
