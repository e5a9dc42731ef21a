//! The whole program, as processes of its own, on the embedded default and on the real servers.
//! One test program, so that all of it shares the servers.

mod commands;
mod dead_letters;
mod dedicated;
mod documents;
mod operations;
mod operator_tools;
mod real_fixes;
mod shards;
mod tenants;
mod tls;
mod two_sinks;
