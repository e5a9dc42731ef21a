//! The least HTTP that asking a server whether it is ready needs.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Gets `url` (plain HTTP) over a connection of its own: status and body, 1 MiB at most.
pub async fn get(url: &str) -> Result<(u16, Bytes)> {
    let uri = url
        .parse::<http::Uri>()
        .with_context(|| format!("parsing the URL {url}"))?;
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http::<Empty<Bytes>>();
    let asked = async {
        let response = client
            .get(uri)
            .await
            .with_context(|| format!("asking GET {url}"))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), 1 << 20).collect().await;
        let body = body
            .map_err(anyhow::Error::from_boxed)
            .with_context(|| format!("reading the answer to GET {url}"))?;
        Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(Duration::from_secs(5), asked)
        .await
        .with_context(|| format!("no answer to GET {url} within 5 s"))?
}
