//! Loads, each a process of its own so that its CPU is counted apart.

pub mod events;
pub mod http;
pub mod paced;
pub mod receiver;
pub mod sockets;

/// Latencies beyond it count as it, µs.
const LONGEST_US: u64 = 60_000_000;
