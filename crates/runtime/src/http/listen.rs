//! Where connections come in: TCP, and the operator's local socket.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 4096;
/// After this much silence the kernel asks whether the other end is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// An accepted connection.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    /// The address is `None` for the local socket.
    pub(super) async fn accept(&self) -> std::io::Result<(Socket, Option<IpAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), Some(address.ip())))
            }
            Listener::Unix(listener, _) => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }
}

pub(super) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit these: a peer that is gone is noticed, also by a websocket.
    socket.set_keepalive(true)?;
    rustix::net::sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    rustix::net::sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_EVERY)?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?)
}

pub(super) fn listen_unix(path: &Path) -> anyhow::Result<UnixListener> {
    if path.exists() {
        anyhow::ensure!(
            std::os::unix::net::UnixStream::connect(path).is_err(),
            "another process answers there: stop it, or give this one another data folder"
        );
        std::fs::remove_file(path)?;
    }
    // Bound under another name first: nobody can connect before the mode is set.
    let unready = path.with_extension("binding");
    let _ = std::fs::remove_file(&unready);
    let listener = UnixListener::bind(&unready)?;
    std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unready, path)?;
    Ok(listener)
}
