//! Webhooks: each event as one signed POST (Standard Webhooks, CloudEvents structured mode).

mod client;
mod connector;
mod signature;

pub use client::{Webhook, WebhookClient};
pub use signature::Secret;
