//! The least HTTP ingest: hyper and rdkafka, no authentication, no validation, no encoding. Each
//! event is produced as it came, under its own key; the answer waits for every acknowledgement.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

struct Acks;

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<oneshot::Sender<bool>>;

    fn delivery(&self, result: &DeliveryResult<'_>, ack: Self::DeliveryOpaque) {
        let _ = ack.send(result.is_ok());
    }
}

pub async fn serve(port: u16, bootstrap: &str, topic: &'static str, linger_ms: &str) -> Result<()> {
    let producer: Arc<ThreadedProducer<Acks>> = Arc::new(
        ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", linger_ms)
            .set("compression.codec", "lz4")
            .set("queue.buffering.max.messages", "1000000")
            .create_with_context(Acks)?,
    );
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let producer = Arc::clone(&producer);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&producer), topic));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service);
            // A load that goes away is the end of a run.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    producer: Arc<ThreadedProducer<Acks>>,
    topic: &'static str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"accepted\":1}")));
    let Ok(body) = request.into_body().collect().await else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    if !produce(&body.to_bytes(), &producer, topic).await {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// A batch is `{"fixes":[…]}`; anything else is one event.
async fn produce(body: &Bytes, producer: &ThreadedProducer<Acks>, topic: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        fixes: Vec<&'a RawValue>,
    }
    let batch = body
        .starts_with(b"{\"fixes\"")
        .then(|| serde_json::from_slice::<Batch<'_>>(body));
    let mut acks = Vec::new();
    match &batch {
        Some(Ok(batch)) => {
            for fix in &batch.fixes {
                acks.extend(send(fix.get().as_bytes(), producer, topic));
            }
        }
        Some(Err(_)) => return false,
        None => acks.extend(send(body, producer, topic)),
    }
    for ack in acks {
        if !matches!(ack.await, Ok(true)) {
            return false;
        }
    }
    true
}

/// The key is the value of the first field, as all loads put the device there.
fn send(
    event: &[u8],
    producer: &ThreadedProducer<Acks>,
    topic: &str,
) -> Option<oneshot::Receiver<bool>> {
    let key = event.split(|b| *b == b'"').nth(3).unwrap_or_default();
    let (ack, acked) = oneshot::channel();
    producer
        .send(
            BaseRecord::with_opaque_to(topic, Box::new(ack))
                .key(key)
                .payload(event),
        )
        .ok()
        .map(|()| acked)
}
