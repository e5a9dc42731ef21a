//! What every role runs on: a clock, a lifecycle, logs and metrics, HTTP listeners with TLS,
//! and problem details.

pub mod clock;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod problem;
pub mod telemetry;
pub mod tenants;

pub use clock::{Clock, SystemClock};
pub use health::{CheckState, Health};
pub use lifecycle::Lifecycle;
pub use problem::{Problem, ProblemKind};
pub use tenants::TenantMetrics;
