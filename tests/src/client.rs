//! A small HTTP client: JSON in and out, as a customer's program would use the API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
}

/// An answer; `body` is null where it is not JSON.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Reply {
    /// The body of a 2xx answer.
    pub fn ok(self) -> Result<Value> {
        if self.status.is_success() {
            Ok(self.body)
        } else {
            bail!("{}: {}", self.status, self.text)
        }
    }

    /// Whether sending the same again later is what the server asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        let asked = matches!(self.status.as_u16(), 429 | 503);
        let seconds = self
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        asked.then(|| Duration::from_secs(seconds.unwrap_or(1)))
    }
}

impl Client {
    /// `base` such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(512)
            .build(connector);
        Client {
            pool,
            base: base.into(),
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn get(&self, path: &str, bearer: &str) -> Result<Reply> {
        self.send(Method::GET, path, bearer, Bytes::new()).await
    }

    pub async fn post(&self, path: &str, bearer: &str, body: &Value) -> Result<Reply> {
        self.send(Method::POST, path, bearer, Bytes::from(body.to_string()))
            .await
    }

    pub async fn put(&self, path: &str, bearer: &str, body: &Value) -> Result<Reply> {
        self.send(Method::PUT, path, bearer, Bytes::from(body.to_string()))
            .await
    }

    pub async fn delete(&self, path: &str, bearer: &str) -> Result<Reply> {
        self.send(Method::DELETE, path, bearer, Bytes::new()).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: &str,
        body: Bytes,
    ) -> Result<Reply> {
        self.send_with(method, path, bearer, &[], body).await
    }

    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        bearer: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Reply> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&url);
        if !bearer.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let typed = headers.iter().any(|(n, _)| *n == header::CONTENT_TYPE);
        if !body.is_empty() && !typed {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body))?;
        let answer = async {
            let (head, body) = self.pool.request(request).await?.into_parts();
            anyhow::Ok((head, body.collect().await?.to_bytes()))
        };
        let (head, bytes) = tokio::time::timeout(TIMEOUT, answer)
            .await
            .with_context(|| format!("{url} did not answer within {TIMEOUT:?}"))?
            .with_context(|| format!("asking {url}"))?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}
