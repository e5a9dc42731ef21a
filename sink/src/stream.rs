//! `/stream`: a tenant's events over a websocket or as server-sent events.
//!
//! A connection has a [`feed::Feed`]: history from its own cursor, then the live tail of the
//! [`hub::Hub`], which reads each partition once for the whole process. What lies behind it is
//! read by the [`history::History`], once for all who go through it at the time.

pub mod catch_up;
pub mod connections;
pub mod feed;
pub mod frame;
pub mod history;
pub mod hub;
pub mod opening;
pub mod protocol;
pub mod request;
pub mod revocations;
pub mod socket;
pub mod socket_use;
pub mod sse;
pub mod start;
pub mod subscriber;
pub mod websocket;

use std::sync::Arc;

use laneway_log::Log;
use laneway_runtime::tenants::{TenantCounter, TenantMetrics};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::position::TokenKey;
use crate::settings::StreamSettings;

/// What every connection of the process shares.
pub struct StreamContext {
    pub log: Arc<dyn Log>,
    pub hub: hub::Hub,
    pub tokens: TokenKey,
    pub settings: StreamSettings,
    pub connections: Arc<connections::Connections>,
    pub history: Arc<history::History>,
    pub metrics: Arc<TenantMetrics>,
    pub delivered: TenantCounter,
    pub tasks: TaskTracker,
    /// Begins the drain of connections.
    pub stop: CancellationToken,
}
