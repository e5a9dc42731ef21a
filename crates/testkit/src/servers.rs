//! Real servers: Apache Kafka, PostgreSQL and a Confluent-compatible schema registry.
//!
//! Each starts in about a second or two on a loopback port, in a folder of its own. `shared()`
//! gives one for the whole test process; `start()` gives one that ends when it is dropped. Where
//! the environment has an address (`LANEWAY_TEST_KAFKA`, `LANEWAY_TEST_POSTGRES`,
//! `LANEWAY_TEST_REGISTRY`), that server is used instead, unless a test asks for its own.

pub(crate) mod http;
mod install;
mod kafka;
mod postgres;
pub mod process;
mod registry;

pub use install::cache_folder;
pub use kafka::{KafkaCluster, KafkaOptions};
pub use postgres::Postgres;
pub use registry::Registry;

/// Whether tests that need servers are to be left out (`LANEWAY_TEST_EMBEDDED_ONLY=1`), and if so
/// prints that `suite` did not run. A test begins with
/// `if embedded_only("the log on Kafka") { return Ok(()) }`.
pub fn embedded_only(suite: &str) -> bool {
    let only = std::env::var("LANEWAY_TEST_EMBEDDED_ONLY")
        .is_ok_and(|value| value != "0" && !value.is_empty());
    if only {
        // Past the capture of the test harness, which would hide it in a test that passes.
        let line = format!("NOT RUN (LANEWAY_TEST_EMBEDDED_ONLY is set): {suite}\n");
        let _closed = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    only
}

/// An address that the environment gives, if it is not empty.
fn address(variable: &str) -> Option<String> {
    std::env::var(variable)
        .ok()
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}
