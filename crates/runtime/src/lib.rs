//! What every role runs on: a clock, a lifecycle, logs and metrics, HTTP listeners with TLS,
//! problem details, and which addresses a tenant's connections may reach.

pub mod clock;
pub mod guard;
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
