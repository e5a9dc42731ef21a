//! Loads, each a process of its own so that its CPU is counted apart.

pub mod http;
