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
    /// A client lost its brokers; also an idle connection that the broker has closed says so.
    /// Whether it means anything is for the next question to the brokers to tell.
    suspected: Mutex<Option<String>>,
    unreachable: Mutex<Option<String>>,
    /// The brokers were reached and refuse who asks.
    refused: Mutex<Option<String>>,
    append_failed: Mutex<Option<(Instant, String)>>,
}

impl Health {
    pub(super) fn check(&self) -> Result<()> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(reason) = self.unreachable() {
            return Err(LogError::Unavailable {
                doing: "reaching the brokers",
                reason,
            });
        }
        match &*lock(&self.append_failed) {
            Some((at, reason)) if at.elapsed() < FAILURE_COUNTS => Err(LogError::Unavailable {
                doing: "appending",
                reason: reason.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn unreachable(&self) -> Option<String> {
        lock(&self.unreachable).clone()
    }

    pub(super) fn refused(&self) -> Option<String> {
        lock(&self.refused).clone()
    }

    /// Whether somebody should ask the brokers something.
    pub(super) fn doubtful(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
            && (lock(&self.suspected).is_some() || lock(&self.unreachable).is_some())
    }

    pub(super) fn brokers_answered(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            *lock(&self.suspected) = None;
            *lock(&self.refused) = None;
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

    /// The brokers were asked, and did not answer.
    pub(super) fn brokers_silent(&self, error: &KafkaError) {
        let reason = lock(&self.suspected)
            .take()
            .unwrap_or_else(|| errors::reason(error));
        self.set_unreachable(reason);
    }

    /// An error that a client reports of itself, outside of any call.
    pub(super) fn client_error(&self, client: &str, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(code) if errors::is_refusal(code) => {
                *lock(&self.refused) = Some(reason.to_owned());
                self.set_unreachable(reason.to_owned());
            }
            Some(Code::AllBrokersDown) => {
                lock(&self.suspected).get_or_insert_with(|| reason.to_owned());
                self.troubled.store(true, Ordering::Relaxed);
            }
            // Single brokers come and go, and librdkafka goes on by itself.
            _ => tracing::debug!(client, %error, reason, "Kafka client"),
        }
    }

    fn set_unreachable(&self, reason: String) {
        let mut unreachable = lock(&self.unreachable);
        if unreachable.is_none() {
            tracing::warn!(reason, "the Kafka brokers are out of reach");
        }
        *unreachable = Some(reason);
        self.troubled.store(true, Ordering::Relaxed);
    }

    /// Looks after it has cleared the flag, so that trouble in between is not forgotten.
    fn settle(&self) {
        self.troubled.store(false, Ordering::SeqCst);
        let well = [&self.suspected, &self.unreachable]
            .iter()
            .all(|reason| lock(reason).is_none());
        if !well || lock(&self.append_failed).is_some() {
            self.troubled.store(true, Ordering::SeqCst);
        }
    }
}

/// A poisoned lock holds nothing worse than an old reason.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A line of librdkafka's own log. It never contains credentials.
pub(super) fn log_line(client: &str, level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(client, facility, line, "librdkafka");
        }
        RDKafkaLogLevel::Warning => tracing::info!(client, facility, line, "librdkafka"),
        _ => tracing::debug!(client, facility, line, "librdkafka"),
    }
}
