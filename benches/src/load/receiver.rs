//! A webhook receiver that answers 200 to everything and counts: raw sockets, so that it costs
//! little itself. `GET /count` says how many have come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const LARGEST: usize = 1 << 20;

pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let count = Arc::new(AtomicU64::new(0));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            // A sender that goes away is the end of a run.
            let _ = connection(socket, &count).await;
        });
    }
}

async fn connection(mut socket: TcpStream, count: &AtomicU64) -> Result<()> {
    let mut filled = Vec::with_capacity(16 * 1024);
    loop {
        ensure!(filled.len() < LARGEST, "a request without an end");
        if socket.read_buf(&mut filled).await? == 0 {
            return Ok(());
        }
        while let Some(end) = request(&filled)? {
            if filled.starts_with(b"GET") {
                let body = count.load(Ordering::Relaxed).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                socket.write_all((head + &body).as_bytes()).await?;
            } else {
                count.fetch_add(1, Ordering::Relaxed);
                socket.write_all(ANSWER).await?;
            }
            filled.drain(..end);
        }
    }
}

/// Where the first request ends, if all of it is there.
fn request(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Ok(None);
    };
    let length = std::str::from_utf8(&bytes[..head])?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())
        .context("a length that is no number")?;
    let end = head + 4 + length;
    Ok((bytes.len() >= end).then_some(end))
}
