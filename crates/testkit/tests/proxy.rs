//! Faults that the proxy makes, as a client sees them.

use std::time::{Duration, Instant};

use anyhow::Result;
use laneway_testkit::{FaultProxy, Way, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BOUND: Duration = Duration::from_secs(10);
/// Long enough for bytes to arrive if anything moved them.
const QUIET: Duration = Duration::from_millis(200);

async fn echo_server() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Ok(address)
}

async fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    tokio::time::timeout(BOUND, stream.read_exact(&mut back)).await??;
    assert_eq!(back, bytes);
    Ok(())
}

#[tokio::test]
async fn bytes_pass_both_ways_and_an_end_is_passed_on() -> Result<()> {
    let proxy = FaultProxy::start(&echo_server().await?).await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    echoed(&mut client, &vec![7; 300_000]).await?;
    client.shutdown().await?;
    assert_eq!(client.read(&mut [0; 1]).await?, 0);
    assert_eq!(proxy.accepted(), 1);
    Ok(())
}

#[tokio::test]
async fn a_cut_closes_what_is_open_and_refuses_until_restored() -> Result<()> {
    let proxy = FaultProxy::start(&echo_server().await?).await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    echoed(&mut client, b"before").await?;
    proxy.cut().await?;
    let ended = tokio::time::timeout(BOUND, client.read(&mut [0; 1])).await?;
    assert!(
        matches!(ended, Ok(0) | Err(_)),
        "the connection survived: {ended:?}"
    );
    assert!(
        TcpStream::connect(proxy.address()).await.is_err(),
        "a connection was accepted"
    );
    proxy.restore().await?;
    echoed(&mut TcpStream::connect(proxy.address()).await?, b"after").await
}

#[tokio::test]
async fn a_stall_holds_bytes_and_restore_delivers_them() -> Result<()> {
    let proxy = FaultProxy::start(&echo_server().await?).await?;
    let mut open = TcpStream::connect(proxy.address()).await?;
    echoed(&mut open, b"before").await?;
    proxy.stall();
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    wait::until("the proxy to accept", BOUND, || async {
        proxy.accepted() == 2
    })
    .await?;
    for client in [&mut open, &mut fresh] {
        client.write_all(b"held").await?;
        let read = tokio::time::timeout(QUIET, client.read(&mut [0; 4])).await;
        assert!(read.is_err(), "a byte passed");
    }
    proxy.restore().await?;
    for client in [&mut open, &mut fresh] {
        let mut held = [0; 4];
        tokio::time::timeout(BOUND, client.read_exact(&mut held)).await??;
        assert_eq!(&held, b"held");
    }
    Ok(())
}

#[tokio::test]
async fn a_stall_begins_at_what_a_client_sends_and_holds_one_way() -> Result<()> {
    let proxy = FaultProxy::start(&echo_server().await?).await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    for (way, word) in [(Way::ToClient, b"answer"), (Way::ToServer, b"demand")] {
        proxy.stall_at(way, move |chunk| chunk == word)?;
        echoed(&mut client, b"before").await?;
        client.write_all(word).await?;
        tokio::time::timeout(BOUND, proxy.stalled()).await?;
        let read = tokio::time::timeout(QUIET, client.read(&mut [0; 6])).await;
        assert!(read.is_err(), "a byte passed");
        proxy.restore().await?;
        let mut held = [0; 6];
        tokio::time::timeout(BOUND, client.read_exact(&mut held)).await??;
        assert_eq!(&held, word);
    }
    proxy.stall_at(Way::ToClient, |_| true)?;
    proxy.restore().await?;
    echoed(&mut client, b"after").await
}

#[tokio::test]
async fn latency_delays_a_round_trip_twice() -> Result<()> {
    let proxy = FaultProxy::start(&echo_server().await?).await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    proxy.latency(Duration::from_millis(50));
    let start = Instant::now();
    echoed(&mut client, b"slow").await?;
    assert!(
        start.elapsed() >= Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_client_of_a_dead_target_is_closed() -> Result<()> {
    let proxy = FaultProxy::start("127.0.0.1:1").await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    let ended = tokio::time::timeout(BOUND, client.read(&mut [0; 1])).await?;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    Ok(())
}
