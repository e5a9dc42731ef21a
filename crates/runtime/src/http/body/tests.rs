use std::io::Write;

use super::*;

const LIMITS: BodyLimits = BodyLimits {
    bytes: 1000,
    decompressed_bytes: 5000,
    timeout: Duration::from_secs(5),
};

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
    assert_eq!(
        read_full(encoded("zstd"), zstd.into())
            .await
            .unwrap_err()
            .kind,
        "too-large"
    );
}

#[tokio::test]
async fn compressed_bodies_arrive_whole() {
    let text = b"lane".repeat(1000);
    assert_eq!(read_full(encoded("gzip"), gzip(&text)).await.unwrap(), text);
    let zstd = zstd::encode_all(&text[..], 3).unwrap();
    assert_eq!(read_full(encoded("ZSTD"), zstd.into()).await.unwrap(), text);
    assert_eq!(
        read_full(HeaderMap::new(), Bytes::from_static(b"as it is"))
            .await
            .unwrap(),
        "as it is"
    );
}

#[tokio::test]
async fn broken_or_unknown_encodings_are_the_clients_fault() {
    let broken = read_full(encoded("gzip"), Bytes::from_static(b"not gzip"))
        .await
        .unwrap_err();
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let truncated = gzip(&b"lane".repeat(100));
    let truncated = read_full(encoded("gzip"), truncated.slice(..truncated.len() - 9))
        .await
        .unwrap_err();
    assert_eq!(truncated.status, StatusCode::BAD_REQUEST);
    let unknown = read_full(encoded("br"), Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    assert_eq!(unknown.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    assert_eq!(
        read_full(HeaderMap::new(), vec![1; 1001].into())
            .await
            .unwrap_err()
            .kind,
        "too-large"
    );
    let frames = futures_util::stream::iter(
        (0..11)
            .map(|_| Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from(vec![1; 100])))),
    );
    let chunked = http_body_util::StreamBody::new(frames);
    assert_eq!(
        read(&HeaderMap::new(), chunked, LIMITS)
            .await
            .unwrap_err()
            .kind,
        "too-large"
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let forever = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<hyper::body::Frame<Bytes>, std::io::Error>,
    >());
    let limits = BodyLimits {
        timeout: Duration::from_millis(20),
        ..LIMITS
    };
    let refused = read(&HeaderMap::new(), forever, limits).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
}
