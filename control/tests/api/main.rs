//! The API over real sockets, the same on both databases.

#[macro_use]
mod support;

mod access;
mod deliveries;
mod devices;
mod openapi;
mod operator;
mod registry;
mod relay;
