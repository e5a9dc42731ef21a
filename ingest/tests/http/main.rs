//! Ingest over a real socket, with the embedded log and store.

mod bodies;
mod durability;
mod fixes;
mod hosts;
mod log;
mod namespaces;
mod quotas;
mod rates;
mod rig;
mod sessions;
mod tenancy;
