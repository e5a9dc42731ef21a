//! `/stream`: a tenant's events over a websocket or as server-sent events.
//!
//! A connection has a [`feed::Feed`]: history from its own cursor, then the live tail of the
//! [`hub::Hub`], which reads each partition once for the whole process. What lies behind it is
//! read by the [`history::History`], once for all who go through it at the time.

pub mod catch_up;
pub mod connections;
pub mod elsewhere;
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
use laneway_runtime::Clock;
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
    pub clock: Arc<dyn Clock>,
    pub tasks: TaskTracker,
    /// Begins the drain of connections.
    pub stop: CancellationToken,
}

impl StreamContext {
    /// The time, in milliseconds since 1970, from which on a tenant with this retention may read;
    /// `None` where it may read all that is there.
    pub fn since(&self, retention_seconds: u64) -> Option<i64> {
        let retention_ms = i64::try_from(retention_seconds).unwrap_or(i64::MAX);
        let now_ms = self.clock.now_us() / 1000;
        (retention_seconds > 0).then(|| now_ms.saturating_sub(retention_ms.saturating_mul(1000)))
    }
}
