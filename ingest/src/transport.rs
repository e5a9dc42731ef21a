//! Ways in. Each turns bytes into (who, batch) and outcomes into its own answers.

pub mod http;
