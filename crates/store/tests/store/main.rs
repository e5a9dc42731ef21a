//! The store, the same on both databases.

#[macro_use]
mod support;

mod control_changes;
mod opening;
mod projection;
mod registry;
mod row_level_security;
