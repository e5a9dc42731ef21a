//! The API over real sockets, the same on both databases.

mod support;
mod topics;

mod access;
mod accounts;
mod audit;
mod bulk;
mod credentials;
mod databases;
mod deliveries;
mod destinations;
mod device_details;
mod devices;
mod enrolment;
mod families;
mod hosts;
mod keys;
mod late;
mod namespaces;
mod notices;
mod openapi;
mod operator;
mod options;
mod partners;
mod personal;
mod quarantine;
mod registry;
mod relay;
mod renamed;
mod settings;
mod unguarded;
mod usage;
