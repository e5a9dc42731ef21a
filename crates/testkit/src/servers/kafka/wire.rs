//! One request of the Kafka protocol, to ask a broker which brokers it sees.
//!
//! A broker accepts connections well before it works, so its answer is what counts.
//! Source: <https://kafka.apache.org/protocol#The_Messages_Metadata>, version 1.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METADATA: i16 = 3;
const VERSION: i16 = 1;
const LONGEST_ANSWER: i32 = 1 << 20;

/// The ids of the brokers that the one at `address` takes for alive.
pub async fn brokers_seen_by(address: SocketAddr) -> Result<HashSet<usize>> {
    tokio::time::timeout(Duration::from_secs(2), ask(address))
        .await
        .with_context(|| format!("no answer from the Kafka broker at {address} within 2 s"))?
        .with_context(|| format!("asking the Kafka broker at {address} for its cluster"))
}

async fn ask(address: SocketAddr) -> Result<HashSet<usize>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(&request()).await?;
    let length = connection.read_i32().await?;
    ensure!(
        (0..LONGEST_ANSWER).contains(&length),
        "an answer of {length} bytes is not Kafka's"
    );
    let mut answer = vec![0; usize::try_from(length)?];
    connection.read_exact(&mut answer).await?;
    brokers(&answer).context("the answer ends early")
}

/// Length, header version 1 (key, version, correlation, client), and an empty array: no topics.
fn request() -> BytesMut {
    let client = b"laneway-testkit";
    let mut body = BytesMut::new();
    body.put_i16(METADATA);
    body.put_i16(VERSION);
    body.put_i32(1);
    body.put_i16(15);
    body.put_slice(client);
    body.put_i32(0);
    let mut framed = BytesMut::new();
    framed.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    framed.unsplit(body);
    framed
}

/// Correlation, then an array of (id, host, port, rack). `None` where the answer ends early.
fn brokers(mut answer: &[u8]) -> Option<HashSet<usize>> {
    answer.try_get_i32().ok()?;
    let count = answer.try_get_i32().ok()?;
    let mut seen = HashSet::new();
    for _ in 0..count {
        seen.insert(usize::try_from(answer.try_get_i32().ok()?).ok()?);
        skip_string(&mut answer)?;
        answer.try_get_i32().ok()?;
        skip_string(&mut answer)?;
    }
    Some(seen)
}

/// A length of -1 is a string that is not there.
fn skip_string(answer: &mut &[u8]) -> Option<()> {
    let length = usize::try_from(answer.try_get_i16().ok()?.max(0)).ok()?;
    *answer = answer.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_says_its_own_length() {
        let mut request = request();
        let length = usize::try_from(request.get_u32()).unwrap();
        assert_eq!(length, request.len());
    }

    #[test]
    fn brokers_are_read_and_a_cut_answer_is_none() {
        let mut answer = BytesMut::new();
        answer.put_i32(1);
        answer.put_i32(2);
        for id in [1, 3] {
            answer.put_i32(id);
            answer.put_i16(1);
            answer.put_u8(b'h');
            answer.put_i32(9092);
            answer.put_i16(-1);
        }
        assert_eq!(brokers(&answer), Some(HashSet::from([1, 3])));
        assert_eq!(brokers(&answer[..answer.len() - 1]), None);
    }
}
