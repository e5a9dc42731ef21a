//! Subscribers: a websocket and server-sent events.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::BOUND;

pub struct Subscriber {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub hello: Value,
}

impl Subscriber {
    /// Opens a websocket and subscribes from there.
    pub async fn open(address: SocketAddr, key: &str, from: Value) -> Subscriber {
        Self::send(address, key, json!({ "type": "subscribe", "from": from })).await
    }

    pub async fn send(address: SocketAddr, key: &str, subscribe: Value) -> Subscriber {
        let mut subscriber = Self::connect(address, key).await;
        subscriber.say(subscribe).await;
        subscriber
    }

    /// Opens a websocket and says nothing.
    pub async fn connect(address: SocketAddr, key: &str) -> Subscriber {
        Self::connect_at(address, key, "/stream").await
    }

    /// The same under another path, or with a query.
    pub async fn connect_at(address: SocketAddr, key: &str, target: &str) -> Subscriber {
        Self::try_connect_at(address, key, target).await.unwrap()
    }

    /// The same, or with which status it is refused.
    pub async fn try_connect_at(
        address: SocketAddr,
        key: &str,
        target: &str,
    ) -> Result<Subscriber, StatusCode> {
        let mut request = format!("ws://{address}{target}")
            .into_client_request()
            .unwrap();
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {key}").parse().unwrap());
        let (socket, _) = connect_async(request).await.map_err(|error| match error {
            Error::Http(answer) => answer.status(),
            error => panic!("{error}"),
        })?;
        let mut subscriber = Subscriber {
            socket,
            hello: Value::Null,
        };
        subscriber.hello = subscriber.message().await;
        assert_eq!(subscriber.hello["type"], "hello");
        Ok(subscriber)
    }

    pub async fn say(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    /// The next message; `null` when it is over.
    pub async fn message(&mut self) -> Value {
        loop {
            let next = timeout(BOUND, self.socket.next())
                .await
                .expect("a message in time");
            match next {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Value::Null,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The code and reason with which the sink closes; messages before are passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            let next = timeout(BOUND, self.socket.next()).await.expect("in time");
            if let Message::Close(frame) = next.expect("a close frame").unwrap() {
                let frame = frame.expect("a reason");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    /// The next message of a type; others are passed over.
    pub async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            assert!(!message.is_null(), "closed while waiting for {kind}");
            assert!(
                message["type"] != "error" || kind == "error",
                "{message} while waiting for {kind}"
            );
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next("event").await);
        }
        events
    }

    /// Asserts that nothing but what is known is on its way: the answer to a question comes next.
    pub async fn assert_silent(&mut self) {
        self.say(json!({ "type": "token" })).await;
        loop {
            let message = self.message().await;
            match message["type"].as_str() {
                Some("token") => return,
                Some("caught_up") => {}
                _ => panic!("{message}"),
            }
        }
    }
}

pub fn ids(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .map(|e| e["event"]["id"].as_str().unwrap().to_owned())
        .collect()
}

/// An event and its id.
pub type SseEvent = (String, Value);

pub struct Sse {
    body: Incoming,
    text: String,
}

pub async fn get(
    address: SocketAddr,
    key: &str,
    query: &str,
    last: Option<&str>,
) -> http::Response<Incoming> {
    get_at(address, key, &format!("/stream{query}"), last).await
}

pub async fn get_at(
    address: SocketAddr,
    key: &str,
    target: &str,
    last: Option<&str>,
) -> http::Response<Incoming> {
    let mut request = Request::get(format!("http://{address}{target}"))
        .header("authorization", format!("Bearer {key}"))
        .header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    client
        .request(request.body(Empty::new()).unwrap())
        .await
        .unwrap()
}

impl Sse {
    pub async fn open(address: SocketAddr, key: &str, query: &str, last: Option<&str>) -> Sse {
        let response = get(address, key, query, last).await;
        assert_eq!(response.status(), StatusCode::OK);
        Sse::of(response)
    }

    pub fn of(response: http::Response<Incoming>) -> Sse {
        Sse {
            body: response.into_body(),
            text: String::new(),
        }
    }

    pub async fn next(&mut self) -> SseEvent {
        loop {
            let block = self.block().await.expect("the stream goes on");
            if let (Some(id), Some(data)) = (field(&block, "id: "), field(&block, "data: ")) {
                return (id.to_owned(), serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The problem with which the stream ends.
    pub async fn error(&mut self) -> Value {
        loop {
            let block = self.block().await.expect("a reason before the end");
            if field(&block, "event: ") == Some("error") {
                return serde_json::from_str(field(&block, "data: ").unwrap()).unwrap();
            }
        }
    }

    pub async fn ended(&mut self) -> bool {
        self.block().await.is_none()
    }

    /// The next lines up to an empty one.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                return Some(self.text.drain(..end + 2).collect());
            }
            let frame = timeout(BOUND, self.body.frame()).await.expect("in time")?;
            let data = frame.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    pub async fn events(&mut self, count: usize) -> Vec<SseEvent> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next().await);
        }
        events
    }
}

fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.strip_prefix(name))
}
