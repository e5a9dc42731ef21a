//! The least webhook sender: rdkafka, one kept connection of hyper for each of many workers, a
//! signature by `aws-lc-rs`. A key always goes to the same worker, which keeps its order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::clock;

const POLL: Duration = Duration::from_millis(100);
const QUEUE: usize = 1000;

/// Sends `events` records of the topic to the receiver, over as many connections as `workers`.
pub async fn run(
    bootstrap: &str,
    topic: &str,
    receiver: &str,
    workers: usize,
    events: usize,
) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("webhook-{}", std::process::id()))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    super::assign(&consumer, topic, Offset::Beginning)?;
    let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
    let mut running = tokio::task::JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..workers {
        let (sender, queue) = channel(QUEUE);
        queues.push(sender);
        let (receiver, key) = (receiver.to_owned(), Arc::clone(&key));
        running.spawn(async move { worker(&receiver, queue, &key).await });
    }
    let consumed = tokio::task::spawn_blocking(move || consume(&consumer, &queues, events));
    consumed.await??;
    while let Some(worker) = running.join_next().await {
        worker??;
    }
    Ok(())
}

fn consume(consumer: &BaseConsumer, queues: &[Sender<Bytes>], events: usize) -> Result<()> {
    let mut done = 0;
    while done < events {
        let Some(message) = consumer.poll(POLL) else {
            continue;
        };
        let message = message?;
        let (Some(key), Some(value)) = (message.key(), message.payload()) else {
            continue;
        };
        let hash = key.iter().fold(0usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(usize::from(*byte))
        });
        queues[hash % queues.len()]
            .blocking_send(Bytes::copy_from_slice(value))
            .context("a worker has ended")?;
        done += 1;
    }
    Ok(())
}

async fn worker(receiver: &str, mut queue: Receiver<Bytes>, key: &hmac::Key) -> Result<()> {
    let socket = TcpStream::connect(receiver).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let mut number = 0u64;
    while let Some(body) = queue.recv().await {
        number += 1;
        let at = clock::seconds() as u64;
        let mut signed = hmac::Context::with_key(key);
        signed.update(format!("{number}.{at}.").as_bytes());
        signed.update(&body);
        let signature = format!("v1,{}", STANDARD.encode(signed.sign()));
        let request = Request::post("/floor")
            .header("host", receiver)
            .header("content-type", "application/cloudevents+json")
            .header("webhook-id", number)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        ensure!(
            answer.status().is_success(),
            "the receiver answered {}",
            answer.status()
        );
        answer.into_body().collect().await?;
        sender.ready().await?;
    }
    Ok(())
}
