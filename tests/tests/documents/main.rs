//! What the documents show is run and compared: commands against a fresh `laneway all`, samples
//! against what really comes.

mod commands;
mod markdown;
mod samples;
mod signature;
