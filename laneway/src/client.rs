//! A small HTTP client of the API, over TCP, TLS, or the operator's local socket.

mod connect;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

pub use connect::Io;

/// Bound on one request, from connecting to the last byte of its answer.
const REQUEST_BOUND: Duration = Duration::from_secs(120);

/// Longest line of a long answer, in bytes.
const LONGEST_LINE: usize = 1 << 20;

/// As one segment of a path, or a value of a query.
pub fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Where the API is.
#[derive(Debug, Clone)]
pub enum Target {
    Socket(PathBuf),
    Url(Uri),
}

impl Target {
    pub fn url(text: &str) -> anyhow::Result<Target> {
        let uri: Uri = text
            .parse()
            .with_context(|| format!("'{text}' is no address"))?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        anyhow::ensure!(
            known && uri.host().is_some(),
            "'{text}' is no address: write it like https://laneway.example.com or http://127.0.0.1:8080"
        );
        Ok(Target::Url(uri))
    }

    /// Connects; `extra_ca` is a PEM file of an authority that is trusted besides the public ones.
    pub async fn connect(&self, extra_ca: Option<&std::path::Path>) -> anyhow::Result<Box<dyn Io>> {
        match self {
            Target::Socket(path) => connect::unix(path).await,
            Target::Url(uri) => connect::tcp(uri, extra_ca).await,
        }
    }

    fn authority(&self) -> String {
        match self {
            Target::Socket(_) => "localhost".to_owned(),
            Target::Url(uri) => uri.authority().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The path below whatever path the address has itself.
    fn path(&self, path: &str) -> String {
        let base = match self {
            Target::Socket(_) => "",
            Target::Url(uri) => uri.path().trim_end_matches('/'),
        };
        format!("{base}{path}")
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Socket(path) => write!(f, "the local socket {}", path.display()),
            Target::Url(uri) => write!(f, "{uri}"),
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        if self.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "reading an answer of status {}: it is no JSON; is this the address of Laneway?",
                self.status
            )
        })
    }

    /// After how long to try again, where the answer says so.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self
            .headers
            .get(header::RETRY_AFTER)?
            .to_str()
            .ok()?
            .parse()
            .ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// What a refusal says.
    pub fn refusal(&self) -> String {
        let problem = self.json().unwrap_or_default();
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let said = [text("title"), text("detail")]
            .into_iter()
            .filter(|t| !t.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        if said.is_empty() {
            self.status.to_string()
        } else {
            format!("{} {said}", self.status.as_u16())
        }
    }
}

/// One connection, made anew when it is lost.
pub struct Client {
    target: Target,
    authorization: Option<HeaderValue>,
    extra_ca: Option<PathBuf>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// `secret` is sent as a bearer token.
    pub fn new(
        target: Target,
        secret: Option<&str>,
        extra_ca: Option<PathBuf>,
    ) -> anyhow::Result<Client> {
        let authorization = secret.map(bearer).transpose()?;
        Ok(Client {
            target,
            authorization,
            extra_ca,
            connection: None,
        })
    }

    /// Asks. An error means that no answer came: the request may have had its effect.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(REQUEST_BOUND, self.exchange(method.clone(), path, body))
            .await
            .map_err(|_| anyhow::anyhow!("no answer within {} s", REQUEST_BOUND.as_secs()))
            .and_then(|answer| answer);
        if answer.is_err() {
            self.connection = None;
        }
        answer.with_context(|| format!("asking {} for {method} {path}", self.target))
    }

    /// Asks for a long answer, and hands on each of its lines as it comes.
    pub async fn lines(
        &mut self,
        path: &str,
        take: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let read = self.read_lines(path, take).await;
        if read.is_err() {
            self.connection = None;
        }
        read.with_context(|| format!("asking {} for GET {path}", self.target))
    }

    async fn read_lines(
        &mut self,
        path: &str,
        mut take: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let late = |_| anyhow::anyhow!("no answer within {} s", REQUEST_BOUND.as_secs());
        let sent = self.send(Method::GET, path, None);
        let (head, mut body) = tokio::time::timeout(REQUEST_BOUND, sent)
            .await
            .map_err(late)??
            .into_parts();
        if !head.status.is_success() {
            let refused = Answer {
                status: head.status,
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            };
            anyhow::bail!("refused: {}", refused.refusal());
        }
        let mut rest = Vec::new();
        loop {
            let frame = tokio::time::timeout(REQUEST_BOUND, body.frame()).await;
            let Some(frame) = frame.map_err(late)? else {
                break;
            };
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            rest.extend_from_slice(&data);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
                anyhow::ensure!(
                    rest.len() <= LONGEST_LINE,
                    "a line of the answer is too long"
                );
                continue;
            };
            for line in rest[..end].split(|byte| *byte == b'\n') {
                take(std::str::from_utf8(line)?)?;
            }
            rest.drain(..=end);
        }
        anyhow::ensure!(rest.is_empty(), "the answer ends within a line");
        Ok(())
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Answer> {
        let (head, body) = self.send(method, path, body).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = self.head(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        let connection = self.connection().await?;
        Ok(connection.send_request(request).await?)
    }

    /// Posts a body as it comes, on a connection of its own. Returns when the answer begins; the
    /// rest of both goes on at the same time.
    pub async fn upload<B>(
        &self,
        path: &str,
        kind: &'static str,
        body: B,
    ) -> anyhow::Result<Incoming>
    where
        B: Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static,
    {
        let begun = async {
            let stream = self.target.connect(self.extra_ca.as_deref()).await?;
            let (mut connection, driver) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            // Its end shows in the answer.
            tokio::spawn(driver);
            let request = self
                .head(Method::POST, path)
                .header(header::CONTENT_TYPE, kind)
                .body(body)?;
            anyhow::Ok(connection.send_request(request).await?.into_parts())
        };
        let (head, body) = tokio::time::timeout(REQUEST_BOUND, begun)
            .await
            .map_err(|_| anyhow::anyhow!("no answer within {} s", REQUEST_BOUND.as_secs()))
            .and_then(|begun| begun)
            .with_context(|| format!("asking {} for POST {path}", self.target))?;
        if !head.status.is_success() {
            let answer = Answer {
                status: head.status,
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            };
            anyhow::bail!("POST {path} was refused: {}", answer.refusal());
        }
        Ok(body)
    }

    fn head(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(self.target.path(path))
            .header(header::HOST, self.target.authority())
            .header(
                header::USER_AGENT,
                concat!("laneway/", env!("CARGO_PKG_VERSION")),
            );
        match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        }
    }

    async fn connection(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let mut open = self.connection.take();
        if let Some(connection) = &mut open
            && connection.ready().await.is_err()
        {
            open = None;
        }
        let connection = match open {
            Some(connection) => connection,
            None => {
                let stream = self.target.connect(self.extra_ca.as_deref()).await?;
                let (connection, driver) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                // Its end shows in the next request.
                tokio::spawn(driver);
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}

pub fn bearer(secret: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.trim()))
        .context("the key has characters that no key has: copy it again")?;
    value.set_sensitive(true);
    Ok(value)
}
