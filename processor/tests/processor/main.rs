//! The role on the embedded log.

mod exactly_once;
mod isolation;
mod lives;
#[path = "../derivation/model.rs"]
mod model;
mod support;
