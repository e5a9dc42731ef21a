//! The API over real sockets, the same on both databases.

#[macro_use]
mod support;

mod access;
mod devices;
mod openapi;
mod operator;
mod quarantine;
mod registry;
mod relay;
