//! What tests and benches share: real servers, whole processes, faults, receivers and traces.
//!
//! Nothing here knows the code under test: this crate depends on no other member of the workspace.
//! Servers come from an address in the environment or from what `make test-servers` installed;
//! they listen on loopback only and die with the test process, however that ends.

pub mod binary;
pub mod certificates;
pub mod cpu;
pub mod databases;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod trace;
pub mod wait;
mod watchdog;
pub mod webhook;

pub use binary::laneway_binary;
pub use databases::{Database, EmptyDatabase};
pub use process::LanewayProcess;
pub use proxy::{FaultProxy, Way};
pub use servers::{KafkaCluster, KafkaOptions, Postgres, Registry, embedded_only};
pub use trace::Fix;
pub use wait::eventually;
pub use webhook::{Answer, Webhook};
