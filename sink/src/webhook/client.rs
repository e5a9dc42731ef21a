//! One attempt: a POST, its answer, and what the answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use laneway_runtime::Clock;
use laneway_runtime::guard::Guard;
use tokio::time::timeout;

use super::Secret;
use super::connector::Connector;
use crate::delivery::{Delivery, Destination, Event, EventBatch, Outcome};
use crate::settings::WebhookSettings;

/// How much of an answer is read, so that its connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
const IDLE: Duration = Duration::from_secs(55);
/// Longest `Retry-After` that is honoured.
const MAX_RETRY_AFTER: u64 = 3600;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Shared by all webhooks of a process: connections are kept by host.
#[derive(Clone)]
pub struct WebhookClient {
    client: Client<Connector, Full<Bytes>>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    allow_http: bool,
}

impl WebhookClient {
    pub fn new(settings: &WebhookSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let guard = Guard::new(
            "sink.webhook.allow_private_networks",
            &settings.allow_private_networks,
        )?;
        let connector = Connector::new(guard, settings)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.idle_connections)
            .retry_canceled_requests(true)
            .build(connector);
        let timeout = Duration::from_millis(settings.timeout_ms.max(1));
        Ok(WebhookClient {
            client,
            clock,
            timeout,
            allow_http: settings.allow_http,
        })
    }

    /// A webhook with this address and secret; the error says what is wrong with them.
    pub fn webhook(&self, url: &str, secret: &str) -> Result<Webhook, String> {
        let uri: Uri = url
            .parse()
            .map_err(|e| format!("{url:?} is no address: {e}"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.allow_http => {}
            _ => return Err(format!("{url:?} must begin with https://")),
        }
        if uri.authority().is_none_or(|a| a.as_str().contains('@')) {
            return Err("the address must name a host, and hold no credentials".to_owned());
        }
        let secret = Secret::parse(secret).map_err(|e| e.to_string())?;
        Ok(Webhook {
            client: self.clone(),
            uri,
            secret,
        })
    }
}

/// A destination of the kind `webhook`.
pub struct Webhook {
    client: WebhookClient,
    uri: Uri,
    secret: Secret,
}

impl Destination for Webhook {
    /// Each event is a request of its own, all of them beside each other.
    fn deliver(self: Arc<Self>, batch: EventBatch) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let posts = batch.deliveries.into_iter().map(|d| self.post(d));
            posts.collect::<FuturesUnordered<_>>().collect().await
        })
    }
}

impl Webhook {
    async fn post(&self, delivery: Delivery) {
        let bound = self.client.timeout;
        let outcome = match timeout(bound, self.attempt(delivery.event())).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed(format!("no answer within {bound:?}")),
        };
        delivery.done(outcome);
    }

    async fn attempt(&self, event: &Event) -> Outcome {
        let request = match self.request(event) {
            Ok(request) => request,
            Err(error) => return Outcome::failed(format!("the request cannot be made: {error}")),
        };
        match self.client.client.request(request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                drain(body).await;
                judge(head.status, &head.headers)
            }
            Err(error) => Outcome::failed(chain(&error)),
        }
    }

    fn request(&self, event: &Event) -> Result<Request<Full<Bytes>>, http::Error> {
        let timestamp = self.client.clock.now_us().div_euclid(1_000_000);
        let signature = self.secret.sign(&event.id, timestamp, &event.body);
        Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/cloudevents+json"),
            )
            .header(
                USER_AGENT,
                HeaderValue::from_static(concat!("laneway/", env!("CARGO_PKG_VERSION"))),
            )
            .header(WEBHOOK_ID, &*event.id)
            .header(WEBHOOK_TIMESTAMP, timestamp)
            .header(WEBHOOK_SIGNATURE, signature)
            .body(Full::new(event.body.clone()))
    }
}

/// Reads the answer to its end, or drops the connection with it where it is too long.
async fn drain(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_ANSWER {
            return;
        }
    }
}

/// What an answer means. Redirects are not followed: they are failures like any other.
fn judge(status: StatusCode, headers: &HeaderMap) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered;
    }
    let reason = format!("answered {status}");
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let seconds = headers
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok());
        let retry_after = seconds.map(|s| Duration::from_secs(s.min(MAX_RETRY_AFTER)));
        return Outcome::Failed {
            reason,
            retry_after,
        };
    }
    if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT {
        return Outcome::Refused { reason };
    }
    Outcome::failed(reason)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_delivered_refused_or_failed() {
        let none = HeaderMap::new();
        assert_eq!(judge(StatusCode::NO_CONTENT, &none), Outcome::Delivered);
        assert!(matches!(
            judge(StatusCode::NOT_FOUND, &none),
            Outcome::Refused { .. }
        ));
        assert!(matches!(
            judge(StatusCode::GONE, &none),
            Outcome::Refused { .. }
        ));
        for status in [301, 408, 429, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(
                matches!(
                    judge(status, &none),
                    Outcome::Failed {
                        retry_after: None,
                        ..
                    }
                ),
                "{status}"
            );
        }
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        let seven = Some(Duration::from_secs(7));
        assert!(
            matches!(judge(StatusCode::TOO_MANY_REQUESTS, &headers), Outcome::Failed { retry_after, .. } if retry_after == seven)
        );
    }
}
