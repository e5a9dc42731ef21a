//! Whether the cluster answers, from what the clients report of themselves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::errors;
use crate::{LogError, Result};

/// How long a failed append speaks against the log when no other append follows.
const FAILURE_COUNTS: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Health {
    /// Spares the hot path the locks while all is well.
    troubled: AtomicBool,
    unreachable: Mutex<Option<String>>,
    append_failed: Mutex<Option<(Instant, String)>>,
}

impl Health {
    pub(super) fn check(&self) -> Result<()> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(reason) = self.unreachable() {
            return Err(LogError::Unavailable { doing: "reaching the brokers", reason });
        }
        match &*lock(&self.append_failed) {
            Some((at, reason)) if at.elapsed() < FAILURE_COUNTS => {
                Err(LogError::Unavailable { doing: "appending", reason: reason.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn unreachable(&self) -> Option<String> {
        lock(&self.unreachable).clone()
    }

    pub(super) fn brokers_answered(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            if lock(&self.unreachable).take().is_some() {
                tracing::info!("the Kafka brokers answer again");
            }
            self.settle();
        }
    }

    pub(super) fn append_succeeded(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            *lock(&self.append_failed) = None;
            self.brokers_answered();
        }
    }

    pub(super) fn append_failed(&self, reason: String) {
        *lock(&self.append_failed) = Some((Instant::now(), reason));
        self.troubled.store(true, Ordering::Relaxed);
    }

    /// An error that a client reports of itself, outside of any call.
    pub(super) fn client_error(&self, client: &str, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if !code.is_some_and(|code| code == Code::AllBrokersDown || errors::is_refusal(code)) {
            // Single brokers come and go, and librdkafka goes on by itself.
            tracing::debug!(client, %error, reason, "Kafka client");
            return;
        }
        let before = lock(&self.unreachable).replace(reason.to_owned());
        self.troubled.store(true, Ordering::Relaxed);
        if before.is_none() {
            tracing::warn!(client, %error, reason, "the Kafka brokers are out of reach");
        }
    }

    fn settle(&self) {
        let unreachable = lock(&self.unreachable);
        let failed = lock(&self.append_failed);
        if unreachable.is_none() && failed.is_none() {
            self.troubled.store(false, Ordering::Relaxed);
        }
    }
}

/// A poisoned lock holds nothing worse than an old reason.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A line of librdkafka's own log. It never contains credentials.
pub(super) fn log_line(client: &str, level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::warn!(client, facility, line, "librdkafka");
        }
        RDKafkaLogLevel::Warning => tracing::info!(client, facility, line, "librdkafka"),
        _ => tracing::debug!(client, facility, line, "librdkafka"),
    }
}
