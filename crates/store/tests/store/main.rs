//! The store, the same on both databases.

mod support;

mod control_changes;
mod credentials;
mod devices;
mod enrolment;
mod nodes;
mod opening;
mod projection;
mod registry;
mod row_level_security;
mod secrets;
