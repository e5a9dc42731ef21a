//! What the end-to-end tests and the demo share: a deployment of whole processes, devices that
//! send, receivers that tally, and the recomputation that both are compared with.

pub mod client;
pub mod deployment;
pub mod receiver;
pub mod recompute;
pub mod sender;
pub mod subscriber;
pub mod tally;
pub mod tenant;
