//! The least fan-out: rdkafka, a channel for each subscriber and `tokio-tungstenite`. The value
//! of a record is the text that is sent; a subscriber asks for the records of one key's first
//! part by its path (`/stream/PART`), or for all (`/stream/all`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

type Subscribers = Arc<Mutex<HashMap<Vec<u8>, Vec<UnboundedSender<Utf8Bytes>>>>>;

const POLL: Duration = Duration::from_millis(100);
/// What is written at once, at most.
const BATCH: usize = 64;

pub async fn serve(port: u16, bootstrap: &str, topic: &str) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("fanout-{port}"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("isolation.level", "read_committed")
        .create()?;
    super::assign(&consumer, topic, Offset::End)?;
    let subscribers = Subscribers::default();
    let receivers = Arc::clone(&subscribers);
    std::thread::spawn(move || consume(&consumer, &receivers));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let subscribers = Arc::clone(&subscribers);
        tokio::spawn(async move {
            // A load that goes away is the end of a run.
            let _ = subscriber(socket, &subscribers).await;
        });
    }
}

fn consume(consumer: &BaseConsumer, subscribers: &Subscribers) {
    loop {
        let Some(Ok(message)) = consumer.poll(POLL) else {
            continue;
        };
        let (Some(key), Some(Ok(text))) = (message.key(), message.payload_view::<str>()) else {
            continue;
        };
        let part = key.split(|b| *b == b'/').next().unwrap_or_default();
        let mut all = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        let text = Utf8Bytes::from(text);
        for part in [part, b"all"] {
            if let Some(subscribers) = all.get_mut(part) {
                subscribers.retain(|subscriber| subscriber.send(text.clone()).is_ok());
            }
        }
    }
}

async fn subscriber(socket: TcpStream, subscribers: &Subscribers) -> Result<()> {
    let mut path = String::new();
    #[expect(
        clippy::result_large_err,
        reason = "the shape that the handshake asks for"
    )]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(1024);
    let mut socket =
        tokio_tungstenite::accept_hdr_async_with_config(socket, look, Some(config)).await?;
    let part = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .as_bytes()
        .to_vec();
    let (sender, mut receiver): (_, UnboundedReceiver<Utf8Bytes>) = unbounded_channel();
    subscribers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(part)
        .or_default()
        .push(sender);
    let mut texts = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            read = socket.next() => match read {
                Some(Ok(_)) => {}
                _ => return Ok(()),
            },
            count = receiver.recv_many(&mut texts, BATCH) => {
                if count == 0 {
                    return Ok(());
                }
                for text in texts.drain(..) {
                    socket.feed(Message::Text(text)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
