//! Floors: the least programs that do only the raw work with the same libraries.

pub mod fanout;
pub mod ingest;
pub mod transact;
pub mod webhook;
