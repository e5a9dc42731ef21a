//! `http://<host>/.well-known/laneway-host`, through the guard. Laneway never answers that path
//! itself: a host that merely points here proves nothing.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use laneway_runtime::guard::Guard;
use tokio::net::TcpStream;

use super::dns::Names;

const PATH: &str = "/.well-known/laneway-host";
/// Bytes of the file that are read.
const MOST: usize = 1024;

/// Whether the host's file is the token. Redirects are not followed.
pub(super) async fn proves(
    names: &Names,
    guard: &Guard,
    host: &str,
    port: u16,
    token: &str,
) -> Result<(), String> {
    let address = format!("http://{host}{PATH}");
    let resolved = names.addresses(host).await?;
    let resolved = resolved.into_iter().map(|ip| SocketAddr::new(ip, port));
    let reachable = guard.admit(host, resolved).map_err(|e| e.to_string())?;
    let stream = dial(&reachable)
        .await
        .map_err(|e| format!("{address} cannot be reached: {e}"))?;
    let found = get(stream, host)
        .await
        .map_err(|e| format!("{address} is not answered: {e}"))?;
    match found {
        (StatusCode::OK, body) if body.trim_ascii() == token.as_bytes() => Ok(()),
        (StatusCode::OK, _) => Err(format!("{address} is another text than the token")),
        (status, _) => Err(format!("{address} answers {status}")),
    }
}

async fn dial(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    TcpStream::connect(addresses).await
}

async fn get(stream: TcpStream, host: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(PATH)
        .header(HOST, host)
        .header(USER_AGENT, concat!("laneway/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|e| anyhow::anyhow!("its body cannot be read: {e}"))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let driven = async {
        // How the connection ended, the answer says.
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answered = answer => answered,
        never = driven => match never {},
    }
}
