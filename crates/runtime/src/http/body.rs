//! Bodies: made from bytes and JSON, and read within bounds.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
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
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A response with a body of JSON.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => {
            tracing::error!(%error, "a response cannot be written as JSON");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here", "").into_response()
        }
    }
}

pub fn with_type(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
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
    let collected = tokio::time::timeout(limits.timeout, collect(body, announced, limits.bytes)).await;
    let bytes = collected.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "The body came too slowly",
            format!("Send all of the body within {} s.", limits.timeout.as_secs()),
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
            Problem::bad_request(format!("The body ended early: {}", Into::<BodyError>::into(error)))
        })?;
        let Ok(data) = frame.into_data() else { continue };
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
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
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
        Encoding::Identity => std::io::Cursor::new(bytes).take(bound).read_to_end(&mut out),
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(bytes).take(bound).read_to_end(&mut out),
        Encoding::Zstd => zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            decoder.take(bound).read_to_end(&mut out)
        }),
    };
    result.map_err(|error| Problem::bad_request(format!("The body cannot be decompressed: {error}")))?;
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
mod tests {
    use std::io::Write;

    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { bytes: 1000, decompressed_bytes: 5000, timeout: Duration::from_secs(5) };

    fn encoded(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(name))])
    }

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    async fn read_full(headers: HeaderMap, bytes: Bytes) -> Result<Bytes, Problem> {
        read(&headers, Full::new(bytes), LIMITS).await
    }

    #[tokio::test]
    async fn a_decompression_bomb_is_refused_at_the_bound() {
        let zeros = vec![0; 100_000];
        let refused = read_full(encoded("gzip"), gzip(&zeros)).await.unwrap_err();
        assert_eq!(refused.kind, "too-large");
        let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
        assert_eq!(read_full(encoded("zstd"), zstd.into()).await.unwrap_err().kind, "too-large");
    }

    #[tokio::test]
    async fn compressed_bodies_arrive_whole() {
        let text = b"lane".repeat(1000);
        assert_eq!(read_full(encoded("gzip"), gzip(&text)).await.unwrap(), text);
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        assert_eq!(read_full(encoded("ZSTD"), zstd.into()).await.unwrap(), text);
        assert_eq!(read_full(HeaderMap::new(), Bytes::from_static(b"as it is")).await.unwrap(), "as it is");
    }

    #[tokio::test]
    async fn broken_or_unknown_encodings_are_the_clients_fault() {
        let broken = read_full(encoded("gzip"), Bytes::from_static(b"not gzip")).await.unwrap_err();
        assert_eq!(broken.status, StatusCode::BAD_REQUEST);
        let truncated = gzip(&b"lane".repeat(100));
        let truncated = read_full(encoded("gzip"), truncated.slice(..truncated.len() - 9)).await.unwrap_err();
        assert_eq!(truncated.status, StatusCode::BAD_REQUEST);
        let unknown = read_full(encoded("br"), Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(unknown.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        assert_eq!(read_full(HeaderMap::new(), vec![1; 1001].into()).await.unwrap_err().kind, "too-large");
        let frames = futures_util::stream::iter((0..11).map(|_| {
            Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from(vec![1; 100])))
        }));
        let chunked = http_body_util::StreamBody::new(frames);
        assert_eq!(read(&HeaderMap::new(), chunked, LIMITS).await.unwrap_err().kind, "too-large");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let forever = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<hyper::body::Frame<Bytes>, std::io::Error>,
        >());
        let limits = BodyLimits { timeout: Duration::from_millis(20), ..LIMITS };
        let refused = read(&HeaderMap::new(), forever, limits).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }
}
