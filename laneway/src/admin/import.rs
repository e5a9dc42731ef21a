//! `laneway admin device import`: a file of devices, sent while its answer is read.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::ask::Api;

/// Bytes of the file that are read at a time.
const BLOCK: usize = 64 * 1024;
/// How long the next part of the answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(api: &Api, path: &str, file: &Path, tokens: bool) -> anyhow::Result<()> {
    let kind = match file.extension().and_then(|e| e.to_str()) {
        Some("jsonl" | "ndjson") => "application/x-ndjson",
        _ => "text/csv",
    };
    let reading = || format!("reading {}", file.display());
    let total = lines(file).await.with_context(reading)?;
    let open = tokio::fs::File::open(file).await.with_context(reading)?;
    let blocks = futures_util::stream::unfold(open, |mut open| async move {
        let mut block = BytesMut::with_capacity(BLOCK);
        match open.read_buf(&mut block).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Frame::data(block.freeze())), open)),
            Err(error) => Some((Err(error), open)),
        }
    });
    let path = if tokens {
        format!("{path}?tokens=true")
    } else {
        path.to_owned()
    };
    let body = StreamBody::new(blocks.boxed());
    let answer = api.upload(&path, kind, body).await?;
    let progress = ProgressBar::new(total);
    progress.set_style(ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} lines, {per_sec}, {eta} left",
    )?);
    let summary = follow(answer, &progress, api.wants_json()).await;
    progress.finish_and_clear();
    let summary = summary?;
    let count = |name: &str| summary[name].as_u64().unwrap_or_default();
    eprintln!(
        "{} created, {} were there, {} not valid, {} over the limit",
        count("created"),
        count("exists"),
        count("invalid"),
        count("limit_reached")
    );
    if !summary["complete"].as_bool().unwrap_or_default() {
        let detail = summary["problem"]["detail"].as_str().unwrap_or_default();
        bail!("not all lines were looked at: {detail} Send the file again: what is there stays");
    }
    anyhow::ensure!(
        count("invalid") + count("limit_reached") == 0,
        "some devices were not registered"
    );
    Ok(())
}

/// Prints what there is to say of each line; returns the summary.
async fn follow(
    mut answer: Incoming,
    progress: &ProgressBar,
    as_json: bool,
) -> anyhow::Result<Value> {
    let mut buffer = BytesMut::new();
    let mut summary = Value::Null;
    while let Some(frame) = tokio::time::timeout(PATIENCE, answer.frame())
        .await
        .context("no answer came")?
    {
        let Ok(data) = frame.context("reading the answer")?.into_data() else {
            continue;
        };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line = buffer.split_to(end).freeze();
            buffer.advance(1);
            if let Some(ended) = say(&line, progress, as_json)? {
                summary = ended;
            }
        }
    }
    anyhow::ensure!(
        !summary.is_null(),
        "the answer ended early; send the file again: what is there stays"
    );
    Ok(summary)
}

fn say(line: &Bytes, progress: &ProgressBar, as_json: bool) -> anyhow::Result<Option<Value>> {
    let said: Value = serde_json::from_slice(line).context("a line of the answer is no JSON")?;
    if as_json {
        let text = String::from_utf8_lossy(line);
        progress.suspend(|| println!("{text}"));
    }
    if let Some(ended) = said.get("summary") {
        return Ok(Some(ended.clone()));
    }
    if said.get("line").is_none() {
        return Ok(None);
    }
    progress.inc(1);
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    if let (Some(token), false) = (said["token"].as_str(), as_json) {
        progress.suspend(|| println!("{},{token}", text("id")));
    }
    if matches!(text("outcome"), "invalid" | "limit-reached") && !as_json {
        let said = format!("line {}: {}", said["line"], text("why"));
        progress.suspend(|| eprintln!("{said}"));
    }
    Ok(None)
}

/// Of the file, for the progress bar alone.
async fn lines(file: &Path) -> std::io::Result<u64> {
    let mut open = tokio::fs::File::open(file).await?;
    let mut block = vec![0; BLOCK];
    let mut lines = 0;
    loop {
        let read = open.read(&mut block).await?;
        if read == 0 {
            return Ok(lines);
        }
        lines += block[..read].iter().filter(|b| **b == b'\n').count() as u64;
    }
}
