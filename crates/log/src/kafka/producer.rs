//! Appends: one idempotent producer for the process, polled by one task.

mod bell;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::util::IntoOpaque;

use self::bell::Bell;
use super::errors;
use super::health::{Health, log_line};
use super::pending::{Acknowledged, Pending};
use super::settings::Settings;
use super::topics::Names;
use crate::{LogError, OutgoingRef, Records, Result};

/// Where nothing is delivered, the client is asked this often whether it has failed for good.
const IDLE: Duration = Duration::from_secs(1);
const CLOSING_STEP: Duration = Duration::from_millis(2);
const REBUILD_EVERY: Duration = Duration::from_secs(1);
/// A derived event has six.
const HEADERS: usize = 6;
/// What librdkafka keeps of a record besides its bytes, roughly. Also bounds empty records.
const RECORD_OVERHEAD: usize = 128;

pub(super) struct Appender {
    shared: Arc<Shared>,
}

struct Shared {
    client: ArcSwap<BaseProducer<Deliveries>>,
    admission: Arc<Admission>,
    names: Names,
    settings: Settings,
    health: Arc<Health>,
    stop: AtomicBool,
}

/// Bytes on their way, bounded.
struct Admission {
    queued_bytes: AtomicUsize,
    limit: usize,
}

impl Admission {
    fn enter(&self, bytes: usize) -> Result<()> {
        let before = self.queued_bytes.fetch_add(bytes, Ordering::SeqCst);
        // What is larger than the limit by itself passes when it is alone.
        if before > 0 && before + bytes > self.limit {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(LogError::Busy {
                queued_bytes: before,
            });
        }
        Ok(())
    }

    fn settle(&self, pending: &Pending, records: usize) {
        if pending.settle(records) {
            self.queued_bytes
                .fetch_sub(pending.bytes, Ordering::Relaxed);
        }
    }
}

/// Turns delivery reports into acknowledgements.
struct Deliveries {
    bell: Bell,
    /// Counts what polls came upon.
    polled: AtomicUsize,
    admission: Arc<Admission>,
    health: Arc<Health>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.polled.fetch_add(1, Ordering::Relaxed);
        log_line("producer", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.polled.fetch_add(1, Ordering::Relaxed);
        self.health.client_error("producer", &error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Arc<Pending>) {
        match result {
            Ok(_) => self.health.append_succeeded(),
            Err((error, _)) => {
                let reason = errors::reason(error);
                self.health.append_failed(reason.clone());
                pending.fail(LogError::Unavailable {
                    doing: "appending",
                    reason,
                });
            }
        }
        self.admission.settle(&pending, 1);
        self.polled.fetch_add(1, Ordering::Relaxed);
    }
}

impl Appender {
    pub(super) fn open(
        settings: &Settings,
        names: &Names,
        health: &Arc<Health>,
        limit: usize,
    ) -> Result<Self> {
        let admission = Arc::new(Admission {
            queued_bytes: AtomicUsize::new(0),
            limit,
        });
        let client = build(settings, &admission, health).map_err(|error| {
            LogError::Config(format!("the Kafka producer refused its settings: {error}"))
        })?;
        let shared = Arc::new(Shared {
            client: ArcSwap::from_pointee(client),
            admission,
            names: names.clone(),
            settings: settings.clone(),
            health: health.clone(),
            stop: AtomicBool::new(false),
        });
        tokio::spawn(shared.clone().serve());
        Ok(Appender { shared })
    }

    /// Queues the records at once; the future is their acknowledgement.
    pub(super) fn append(&self, records: &Records) -> Result<Acknowledged> {
        let bytes = records.bytes() + records.len() * RECORD_OVERHEAD;
        self.shared.admission.enter(bytes)?;
        let pending = Pending::new(records.len(), bytes);
        // After the admission: the task ends only when it is told to and nothing is in.
        if self.shared.stop.load(Ordering::SeqCst) {
            self.shared.admission.settle(&pending, records.len() + 1);
            return Err(LogError::Closed);
        }
        let client = self.shared.client.load();
        let mut queued = 0;
        for record in records.iter() {
            if let Err(error) = send(&client, &self.shared.names, record, pending.clone()) {
                pending.fail(match error.rdkafka_error_code() {
                    Some(Code::QueueFull) => LogError::Busy {
                        queued_bytes: self.shared.admission.queued_bytes.load(Ordering::Relaxed),
                    },
                    _ => errors::unavailable("appending", &error),
                });
                // What follows must not be durable where what came before is not.
                break;
            }
            queued += 1;
        }
        self.shared
            .admission
            .settle(&pending, records.len() - queued + 1);
        Ok(Acknowledged(pending))
    }

    /// Refuses further appends, and waits until each has its outcome: what is not acknowledged
    /// within the delivery timeout is given up.
    pub(super) fn close_blocking(&self) {
        let shared = &self.shared;
        shared.stop();
        let deadline = Instant::now() + shared.settings.delivery_timeout() + IDLE;
        while shared.admission.queued_bytes.load(Ordering::Relaxed) > 0 && Instant::now() < deadline
        {
            std::thread::sleep(CLOSING_STEP);
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    /// The task: runs deliveries, replaces a broken producer, and at the end waits for what is on
    /// its way.
    async fn serve(self: Arc<Self>) {
        let mut idle = tokio::time::interval(IDLE);
        while !self.stop.load(Ordering::SeqCst) {
            let client = self.client.load_full();
            tokio::select! {
                () = client.context().bell.rung() => {}
                _ = idle.tick() => {}
            }
            deliver(&client);
            // Events of it name the cause, and not that it is fatal.
            if let Some((_, reason)) = client.client().fatal_error() {
                tracing::warn!(reason, "the Kafka producer failed for good and is replaced");
                self.replace(client).await;
            }
        }
        let client = self.client.load_full();
        let flying = || self.admission.queued_bytes.load(Ordering::SeqCst) > 0;
        let deadline = Instant::now() + self.settings.delivery_timeout();
        while flying() && Instant::now() < deadline {
            deliver(&client);
            tokio::time::sleep(CLOSING_STEP).await;
        }
        client.purge(PurgeConfig::default().queue().inflight());
        while flying() && Instant::now() < deadline + IDLE {
            deliver(&client);
            tokio::time::sleep(CLOSING_STEP).await;
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.client.load().context().bell.ring();
    }

    /// Appends that are under way fail as unavailable: their callers send again, which is safe.
    async fn replace(&self, mut broken: Arc<BaseProducer<Deliveries>>) {
        let fresh = loop {
            match build(&self.settings, &self.admission, &self.health) {
                Ok(fresh) => break fresh,
                Err(error) => self.health.append_failed(error.to_string()),
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            deliver(&broken);
            tokio::time::sleep(REBUILD_EVERY).await;
        };
        drop(self.client.swap(Arc::new(fresh)));
        // Appends that still hold it must not be the ones to close it, and to close it takes time.
        loop {
            match Arc::try_unwrap(broken) {
                Ok(last) => return drop(tokio::task::spawn_blocking(move || drop(last))),
                Err(shared) => broken = shared,
            }
            deliver(&broken);
            tokio::time::sleep(CLOSING_STEP).await;
        }
    }
}

/// Polls until there is nothing more: the bell rings again only after that.
fn deliver(client: &BaseProducer<Deliveries>) {
    let polled = &client.context().polled;
    loop {
        let before = polled.load(Ordering::Relaxed);
        client.poll(Duration::ZERO);
        if polled.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

fn build(
    settings: &Settings,
    admission: &Arc<Admission>,
    health: &Arc<Health>,
) -> Result<BaseProducer<Deliveries>, KafkaError> {
    let bell = Bell::default();
    let client = settings.producer().create_with_context(Deliveries {
        bell: bell.clone(),
        polled: AtomicUsize::new(0),
        admission: admission.clone(),
        health: health.clone(),
    })?;
    bell.follow(&client);
    Ok(client)
}

/// Hands a copy of one record to librdkafka.
pub(super) fn send<C>(
    client: &BaseProducer<C>,
    names: &Names,
    record: OutgoingRef<'_>,
    opaque: C::DeliveryOpaque,
) -> Result<(), KafkaError>
where
    C: ProducerContext,
    C::DeliveryOpaque: IntoOpaque,
{
    let (topic, partition) = names.physical(record.topic, record.partition);
    let mut message = BaseRecord::with_opaque_to(topic, opaque)
        .partition(partition)
        .timestamp(record.timestamp_ms)
        .key(record.key);
    message.payload = record.value;
    if !record.headers.packed().is_empty() {
        let headers = record.headers.iter().fold(
            OwnedHeaders::new_with_capacity(HEADERS),
            |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            },
        );
        message = message.headers(headers);
    }
    client.send(message).map_err(|(error, _)| error)
}

#[cfg(test)]
mod tests;
