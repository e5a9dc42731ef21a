//! What every role runs on: a clock, a lifecycle, logs and metrics, HTTP listeners with TLS,
//! and problem details.

pub mod clock;
pub mod http;
pub mod lifecycle;
pub mod problem;

pub use clock::{Clock, SystemClock};
pub use lifecycle::Lifecycle;
pub use problem::Problem;
