//! HTTP: what a role serves ([`Service`]), and who is at the other end ([`Peer`]).
//!
//! Roles implement [`Service`] over hyper; the binary composes them by path on one address
//! (`laneway all`) or serves each on its own.

pub mod body;
mod connection;
mod even;
mod forwarded;
mod listen;
mod ops;
mod route;
mod server;
mod tls;

use std::net::IpAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;

pub use forwarded::{Cidr, CidrError};
pub use ops::{HealthService, OpsService};
pub use route::Routes;
pub use server::{ListenConfig, Server};
pub use tls::{HostCertificates, TlsConfig};

pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = BoxBody<Bytes, BodyError>;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address: the socket's, or what a configured proxy said in `X-Forwarded-For`.
    /// `None` for the local socket.
    pub address: Option<IpAddr>,
    /// Came over the operator's local socket, whose file permissions are its authentication.
    pub local_operator: bool,
}

/// What a role answers over HTTP.
pub trait Service: Send + Sync + 'static {
    fn call(&self, request: Request<Incoming>, peer: Peer) -> BoxFuture<'_, Response<Body>>;
}
