//! An HTTP load: each of many keep-alive connections sends the next request when the last one has
//! been answered, or when it is due, and then an answer's time counts from there. Raw sockets and
//! prepared bytes, so that it costs little itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::LONGEST_US;

/// What a load saw.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Report {
    pub events: u64,
    pub seconds: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    pub refused: u64,
}

#[derive(Debug, Clone)]
pub struct Load {
    pub address: String,
    pub connections: usize,
    /// Events of one request.
    pub batch: usize,
    pub duration: Duration,
    /// Events a second of all connections together, where they are paced.
    pub rate: Option<u64>,
    /// `device token` lines; connections take them in turn.
    pub tokens: Vec<(String, String)>,
}

pub async fn run(load: Load) -> Result<Report> {
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..load.connections {
        let load = load.clone();
        running.spawn(async move { connection(&load, number, began).await });
    }
    let mut latencies = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
    let (mut events, mut refused) = (0, 0);
    while let Some(done) = running.join_next().await {
        let (histogram, sent, failed) = done??;
        latencies.add(histogram)?;
        events += sent;
        refused += failed;
    }
    Ok(Report {
        events,
        seconds: began.elapsed().as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
        max_us: latencies.max(),
        refused,
    })
}

async fn connection(
    load: &Load,
    number: usize,
    began: Instant,
) -> Result<(Histogram<u64>, u64, u64)> {
    let mut socket = TcpStream::connect(&load.address)
        .await
        .with_context(|| format!("connecting to {}", load.address))?;
    socket.set_nodelay(true)?;
    let mut latencies = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
    let (mut sent, mut refused) = (0, 0);
    let mut request = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut sequence = number as i64 * 10_000_000;
    let mut pace = load.rate.map(|rate| {
        let every = Duration::from_secs_f64((load.connections * load.batch) as f64 / rate as f64);
        let first = began + every.mul_f64(number as f64 / load.connections as f64);
        let mut ticks = tokio::time::interval_at(first.into(), every);
        // Who is late catches up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        ticks
    });
    while began.elapsed() < load.duration {
        let (device, token) =
            &load.tokens[(number + sent as usize * load.connections) % load.tokens.len()];
        prepare(&mut request, device, token, load.batch, &mut sequence);
        let at = match &mut pace {
            Some(ticks) => ticks.tick().await.into_std(),
            None => Instant::now(),
        };
        socket.write_all(&request).await?;
        if answer(&mut socket, &mut buffer).await? / 100 == 2 {
            sent += load.batch as u64;
        } else {
            refused += load.batch as u64;
        }
        latencies.saturating_record(u64::try_from(at.elapsed().as_micros())?);
    }
    Ok((latencies, sent, refused))
}

/// Times go on by a millisecond an event from 2024-01-01, so that no two are repeats.
fn prepare(request: &mut Vec<u8>, device: &str, token: &str, batch: usize, sequence: &mut i64) {
    use std::io::Write;
    let mut fix = || {
        *sequence += 1;
        format!(
            "{{\"device_id\":\"{device}\",\"recorded_at\":{},\"lat\":52.5{:05},\"lon\":13.4{:05},\"speed\":8.25,\
             \"heading\":97.5,\"accuracy\":4.5,\"battery\":0.75}}",
            1_704_067_200_000 + *sequence,
            *sequence % 100_000,
            *sequence % 99_991,
        )
    };
    let body = if batch == 1 {
        fix()
    } else {
        let fixes: Vec<String> = (0..batch).map(|_| fix()).collect();
        format!("{{\"fixes\":[{}]}}", fixes.join(","))
    };
    request.clear();
    // Writing to a Vec does not fail.
    let _ = write!(
        request,
        "POST /location/update HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Reads one answer to its end; its status.
pub async fn answer(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<u16> {
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the server closed the connection after {filled} bytes of an answer");
        }
        filled += read;
        let head = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = head {
            let text = std::str::from_utf8(&buffer[..end])?;
            let status = text
                .split(' ')
                .nth(1)
                .context("an answer without a status")?
                .parse()?;
            let length = text
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(|v| v.trim().to_owned())
                })
                .map_or(Ok(0), |v| v.parse::<usize>())?;
            if filled >= end + 4 + length {
                return Ok(status);
            }
        }
    }
}
