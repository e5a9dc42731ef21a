//! Ingest over a real socket, with the embedded log and store.

mod bodies;
mod durability;
mod fixes;
mod hosts;
mod log;
mod quotas;
mod rates;
mod rig;
mod sessions;
mod tenancy;
