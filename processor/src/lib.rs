//! The processor.
pub mod derive;
