//! Websocket subscribers that only count what they are sent: frames are skipped by their headers,
//! so that a thousand of them cost little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock;

use super::LONGEST_US;

/// How events begin: Laneway's, and those that the floors pass on as they came.
const EVENTS: [&[u8]; 2] = [br#"{"type":"event""#, br#"{"device_id""#];
const SILENCE: Duration = Duration::from_secs(30);
/// A reading socket's buffer.
const BUFFER: usize = 16 * 1024;
/// Where latencies are measured, every event says when it was sent.
const SENT: &[u8] = br#""altitude"#;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Report {
    pub events: u64,
    /// From the first event to the last.
    pub seconds: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// `paths`: what each connection asks for, with its credential.
pub struct Load {
    pub address: String,
    pub paths: Vec<(String, String)>,
    /// Events to wait for, over all connections.
    pub expected: u64,
    pub latencies: bool,
}

#[derive(Default)]
struct Counts {
    events: AtomicU64,
    /// Microseconds from the start of the load, plus one; zero before the first.
    first: AtomicU64,
    last: AtomicU64,
}

/// Says `ready` on the standard output once all are connected, and the report at the end.
pub async fn run(load: Load) -> Result<Report> {
    let counts = Arc::new(Counts::default());
    let latencies = Arc::new(std::sync::Mutex::new(Histogram::<u64>::new_with_bounds(
        1, LONGEST_US, 3,
    )?));
    let began = Instant::now();
    for (path, key) in &load.paths {
        let mut socket = connect(&load.address, path, key).await?;
        let (counts, latencies) = (Arc::clone(&counts), Arc::clone(&latencies));
        let timed = load.latencies;
        tokio::spawn(async move {
            let mut reading = Reading::default();
            let mut buffer = vec![0; BUFFER];
            while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                let events = reading.take(&buffer[..read], |payload| {
                    if let (true, Some(age)) = (timed, age_us(payload)) {
                        let mut all = latencies.lock().unwrap_or_else(|e| e.into_inner());
                        all.saturating_record(age);
                    }
                });
                let at = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                if events > 0 {
                    let _ = counts.first.compare_exchange(
                        0,
                        at + 1,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    counts.last.fetch_max(at + 1, Ordering::Relaxed);
                    counts.events.fetch_add(events, Ordering::Relaxed);
                }
            }
        });
    }
    println!("ready");
    let events = || counts.events.load(Ordering::Relaxed);
    let mut seen = (events(), Instant::now());
    while events() < load.expected {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if events() != seen.0 {
            seen = (events(), Instant::now());
        }
        ensure!(
            seen.1.elapsed() < SILENCE,
            "{} of {} events have come",
            events(),
            load.expected
        );
    }
    let (first, last) = (&counts.first, &counts.last);
    let all = latencies.lock().unwrap_or_else(|e| e.into_inner());
    Ok(Report {
        events: events(),
        seconds: (last.load(Ordering::Relaxed) - first.load(Ordering::Relaxed)) as f64 / 1e6,
        p50_us: all.value_at_quantile(0.5),
        p99_us: all.value_at_quantile(0.99),
    })
}

/// Opens idle sockets, says `ready`, and holds them until its standard input ends.
pub async fn hold(address: &str, paths: &[(String, String)]) -> Result<()> {
    let mut sockets = Vec::new();
    for (path, key) in paths {
        sockets.push(connect(address, path, key).await?);
    }
    println!("ready");
    let mut input = tokio::io::stdin();
    while input.read(&mut [0; 64]).await? > 0 {}
    drop(sockets);
    Ok(())
}

async fn connect(address: &str, path: &str, key: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address)
        .await
        .with_context(|| format!("connecting to {address}"))?;
    socket.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(
            head.len() < 4096,
            "no end of the handshake with {address} in sight"
        );
        head.push(
            socket
                .read_u8()
                .await
                .with_context(|| format!("the handshake with {address}"))?,
        );
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!(
            "{address} refuses {path}: {}",
            String::from_utf8_lossy(&head)
        );
    }
    Ok(socket)
}

/// How far the frames of a connection have been read.
#[derive(Default)]
struct Reading {
    /// What is left of the last read: the beginning of a frame.
    rest: Vec<u8>,
}

impl Reading {
    /// Events that end in these bytes.
    fn take(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) -> u64 {
        self.rest.extend_from_slice(bytes);
        let (mut at, mut events) = (0, 0);
        while let Some((payload, end)) = frame(&self.rest[at..]) {
            let payload = &self.rest[at + payload..at + end];
            if EVENTS.iter().any(|event| payload.starts_with(event)) {
                events += 1;
                event(payload);
            }
            at += end;
        }
        self.rest.drain(..at);
        events
    }
}

/// Where the payload of an unmasked frame begins and ends, if it is all there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = usize::from(*bytes.get(1)? & 0x7f);
    let (start, length) = match length {
        126 => {
            let length: [u8; 2] = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        length => (2, length),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}

/// Since the second of the day that the load wrote as the altitude: a number that every program
/// passes on as it is.
fn age_us(payload: &[u8]) -> Option<u64> {
    let at = payload.windows(SENT.len()).position(|w| w == SENT)?;
    let after = payload.get(at + SENT.len()..)?;
    let colon = after.iter().position(|b| *b == b':')?;
    let number = &after[colon + 1..];
    let end = number
        .iter()
        .position(|b| !(b.is_ascii_digit() || *b == b'.'))?;
    let sent: f64 = std::str::from_utf8(&number[..end]).ok()?.parse().ok()?;
    Some(((clock::second_of_day() - sent).max(0.0) * 1e6) as u64)
}
