//! The store, the same on both databases.

mod support;

mod audit;
mod catalog;
mod claims;
mod control_changes;
mod creations;
mod credentials;
mod devices;
mod enrolment;
mod grants;
mod homes;
mod hostile;
mod hosts;
mod hot_queries;
mod isolation;
mod keys;
mod nodes;
mod opening;
mod pool;
mod projection;
mod registry;
mod rotation;
mod row_level_security;
mod secrets;
mod shards;
mod usage;
