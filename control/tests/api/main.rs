//! The API over real sockets, the same on both databases.

mod support;

mod access;
mod audit;
mod bulk;
mod credentials;
mod deliveries;
mod device_details;
mod devices;
mod enrolment;
mod families;
mod hosts;
mod namespaces;
mod openapi;
mod operator;
mod partners;
mod quarantine;
mod registry;
mod relay;
mod renamed;
mod usage;
