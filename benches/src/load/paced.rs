//! Single fixes at a fixed rate, whatever the answers take: each says when it was sent.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http::answer;
use crate::clock;

const CONNECTIONS: usize = 64;

/// Sends `rate` fixes a second of one device each connection, for `seconds`.
pub async fn run(
    address: &str,
    tokens: &[(String, String)],
    rate: u64,
    seconds: u64,
) -> Result<()> {
    let mut running = tokio::task::JoinSet::new();
    let each = Duration::from_secs_f64(CONNECTIONS as f64 / rate as f64);
    for number in 0..CONNECTIONS {
        let (device, token) = tokens[number % tokens.len()].clone();
        let mut socket = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        let first = tokio::time::Instant::now() + each.mul_f64(number as f64 / CONNECTIONS as f64);
        let count = rate * seconds / CONNECTIONS as u64;
        running.spawn(async move {
            let mut ticks = tokio::time::interval_at(first, each);
            let mut buffer = vec![0; 64 * 1024];
            for _ in 0..count {
                ticks.tick().await;
                let request = request(&device, &token);
                socket.write_all(request.as_bytes()).await?;
                answer(&mut socket, &mut buffer).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

fn request(device: &str, token: &str) -> String {
    let body = format!(
        "{{\"device_id\":\"{device}\",\"recorded_at\":{},\"lat\":52.5,\"lon\":13.4,\"altitude\":{:.6}}}",
        (clock::seconds() * 1000.0) as i64,
        clock::second_of_day(),
    );
    format!(
        "POST /location/update HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
