//! The role on the embedded log.

mod exactly_once;
mod isolation;
#[path = "../derivation/model.rs"]
mod model;
mod support;
