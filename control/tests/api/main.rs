//! The API over real sockets, the same on both databases.

mod support;

mod access;
mod deliveries;
mod devices;
mod families;
mod openapi;
mod operator;
mod quarantine;
mod registry;
mod relay;
