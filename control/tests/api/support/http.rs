//! Requests as bytes on a connection, and what comes back.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// Its `ETag`.
    pub fn tag(&self) -> &str {
        let lines = &mut self.head.lines();
        lines.find_map(|line| line.strip_prefix("etag: ")).unwrap()
    }
}

/// What the chunks of a good answer hold.
pub(super) fn unchunked(raw: &str) -> String {
    let (head, mut rest) = raw.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{raw}");
    let mut text = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return text;
        }
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
}

pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    authorization: &str,
    headers: &str,
    body: &Value,
) -> Answer {
    let answer = exchanged(stream, method, path, authorization, headers, body).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        text: body.to_owned(),
    }
}

pub(super) async fn exchanged(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    authorization: &str,
    headers: &str,
    body: &Value,
) -> String {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let authorization = if authorization.is_empty() {
        String::new()
    } else {
        format!("authorization: {authorization}\r\n")
    };
    let host = if headers.starts_with("host: ") {
        ""
    } else {
        "host: localhost\r\n"
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{authorization}{headers}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}
