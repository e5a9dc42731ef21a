//! Bodies: sizes, encodings, types, methods, and slow ones.

use std::io::Write;

use http::StatusCode;
use laneway_ingest::IngestSettings;
use laneway_log::Topic;
use laneway_schemas::{LocationUpdate, SessionEvent};
use laneway_tenancy::control::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{NOW, Rig, kind_of};

const PATH: &str = "/location/update";
const FIX: &str = r#"{"recorded_at":1795226838500,"lat":1,"lon":2}"#;

async fn rig_and_device() -> (Rig, String) {
    let rig = Rig::with(IngestSettings {
        max_body_bytes: 64 << 10,
        body_timeout_ms: 200,
        ..IngestSettings::default()
    });
    let rig = rig.await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    (rig, device)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bombs_are_refused() {
    let (rig, device) = rig_and_device().await;
    let bomb = vec![b' '; 10 << 20];
    let cases = [
        ("gzip", gzip(FIX.as_bytes()), StatusCode::OK),
        (
            "zstd",
            zstd::encode_all(FIX.as_bytes(), 3).unwrap(),
            StatusCode::OK,
        ),
        ("identity", FIX.into(), StatusCode::OK),
        ("gzip", gzip(&bomb), StatusCode::PAYLOAD_TOO_LARGE),
        (
            "zstd",
            zstd::encode_all(&bomb[..], 3).unwrap(),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        ("br", FIX.into(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("gzip", FIX.into(), StatusCode::BAD_REQUEST),
    ];
    for (encoding, body, status) in cases {
        let reply = rig
            .send(
                "POST",
                &device,
                PATH,
                &[("content-encoding", encoding)],
                body,
            )
            .await;
        assert_eq!(reply.status, status, "{encoding}: {}", reply.json);
    }
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_before_it_is_sent() {
    let (rig, device) = rig_and_device().await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: {device}\r\ncontent-length: 65537\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn without_credentials_not_even_a_body_is_waited_for() {
    let (rig, _) = rig_and_device().await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let (rig, device) = rig_and_device().await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: t\r\nauthorization: {device}\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn types_methods_and_paths_that_are_not_served_are_refused() {
    let (rig, device) = rig_and_device().await;
    for (content_type, status) in [
        ("application/json", StatusCode::OK),
        ("Application/JSON; charset=utf-8", StatusCode::OK),
        ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/jsonp", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let reply = rig
            .send(
                "POST",
                &device,
                PATH,
                &[("content-type", content_type)],
                FIX,
            )
            .await;
        assert_eq!(reply.status, status, "{content_type}");
    }
    for (method, path, allow) in [
        ("GET", PATH, "POST"),
        ("PUT", PATH, "POST"),
        ("GET", "/location/session/start", "POST"),
        ("DELETE", "/location/session/s", "GET"),
        ("GET", "/location/session/s/stop", "POST"),
    ] {
        let reply = rig.send(method, &device, path, &[], "").await;
        assert_eq!(
            reply.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        assert_eq!(reply.headers["allow"], allow);
    }
    assert_eq!(
        rig.post(&device, "/location/nothing", FIX).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn bodies_that_are_no_batch_are_refused_whole() {
    let (rig, device) = rig_and_device().await;
    let too_many: Vec<Value> = (0..1001).map(|_| json!({})).collect();
    for (body, status, kind) in [
        ("", StatusCode::BAD_REQUEST, "bad-request"),
        ("{", StatusCode::BAD_REQUEST, "bad-request"),
        ("[{}] x", StatusCode::BAD_REQUEST, "bad-request"),
        ("\"fix\"", StatusCode::BAD_REQUEST, "bad-request"),
        ("[]", StatusCode::BAD_REQUEST, "bad-request"),
        (
            "{\"fixes\":[{}],\"lat\":1}",
            StatusCode::BAD_REQUEST,
            "bad-request",
        ),
        (
            &*json!(too_many).to_string(),
            StatusCode::PAYLOAD_TOO_LARGE,
            "batch-too-large",
        ),
    ] {
        let reply = rig.update(&device, body.to_owned()).await;
        assert_eq!(
            (reply.status, reply.kind()),
            (status, kind),
            "{}",
            &body[..body.len().min(40)]
        );
    }
    let invalid_text = b"{\"id\":\"\xff\",\"lat\":1}".to_vec();
    assert_eq!(
        rig.update(&device, invalid_text).await.status,
        StatusCode::BAD_REQUEST
    );
    let thousand: Vec<Value> = (0..1000)
        .map(|n| json!({"recorded_at": NOW / 1000 - n, "lat": 1, "lon": 2}))
        .collect();
    let reply = rig.update(&device, json!(thousand).to_string()).await;
    assert_eq!(reply.json["accepted"], 1000);
}

#[tokio::test]
async fn what_is_larger_than_the_log_takes_is_refused_and_nothing_else() {
    let rig = Rig::with_largest_record(1024).await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let attributes: serde_json::Map<String, Value> = (0..4)
        .map(|n| (format!("note-{n}"), json!("x".repeat(250))))
        .collect();
    let fix = json!({"recorded_at": NOW / 1000, "lat": 1, "lon": 2});
    let mut large = fix.clone();
    large["recorded_at"] = json!(NOW / 1000 - 1);
    large["attributes"] = Value::Object(attributes.clone());
    let answer = rig.update(&device, json!([large, fix]).to_string()).await;
    let results = &answer.json["results"];
    assert_eq!(answer.json["accepted"], 1, "{}", answer.json);
    assert_eq!(kind_of(&results[0]["problem"]), "record-too-large");
    let start = json!({"session_id": "s", "attributes": attributes}).to_string();
    let start = rig.post(&device, "/location/session/start", start).await;
    assert_eq!(
        (start.status, start.kind()),
        (StatusCode::PAYLOAD_TOO_LARGE, "record-too-large")
    );
    let fixes = rig.records::<LocationUpdate>(Topic::LocationUpdates).await;
    let starts = rig.records::<SessionEvent>(Topic::SessionEvents).await;
    assert_eq!((fixes.len(), starts.len()), (1, 0));
}
