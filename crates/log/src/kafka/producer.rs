//! Appends: one idempotent producer for the process, polled by one thread.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::IntoOpaque;

use super::errors;
use super::health::{Health, log_line};
use super::pending::{Acknowledged, Pending};
use super::settings::Settings;
use super::topics::Names;
use crate::{LogError, OutgoingRef, Records, Result};

/// A poll blocks this long where nothing happens; deliveries wake it at once. It bounds how
/// late the thread notices that it shall stop.
const POLL: Duration = Duration::from_millis(100);
const REBUILD_EVERY: Duration = Duration::from_secs(1);
/// What librdkafka keeps of a record besides its bytes, roughly. Also bounds empty records.
const RECORD_OVERHEAD: usize = 128;

pub(super) struct Appender {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // What is larger than the limit by itself passes when it is alone.
        if before > 0 && before + bytes > self.limit {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(LogError::Busy { queued_bytes: before });
        }
        Ok(())
    }

    fn settle(&self, pending: &Pending, records: usize) {
        if pending.settle(records) {
            self.queued_bytes.fetch_sub(pending.bytes, Ordering::Relaxed);
        }
    }
}

/// Turns delivery reports into acknowledgements.
struct Deliveries {
    admission: Arc<Admission>,
    health: Arc<Health>,
    /// The producer can do nothing more and has to be replaced.
    broken: AtomicBool,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("producer", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if errors::is_fatal(&error) {
            self.broken.store(true, Ordering::Relaxed);
            tracing::warn!(reason, "the Kafka producer failed for good and is replaced");
        } else {
            self.health.client_error("producer", &error, reason);
        }
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
                pending.fail(LogError::Unavailable { doing: "appending", reason });
            }
        }
        self.admission.settle(&pending, 1);
    }
}

impl Appender {
    pub(super) fn open(settings: &Settings, names: &Names, health: &Arc<Health>, limit: usize) -> Result<Self> {
        let admission = Arc::new(Admission { queued_bytes: AtomicUsize::new(0), limit });
        let client = build(settings, &admission, health)
            .map_err(|error| LogError::Config(format!("the Kafka producer refused its settings: {error}")))?;
        let shared = Arc::new(Shared {
            client: ArcSwap::from_pointee(client),
            admission,
            names: names.clone(),
            settings: settings.clone(),
            health: health.clone(),
            stop: AtomicBool::new(false),
        });
        let polled = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log-append".to_owned())
            .spawn(move || polled.serve())
            .map_err(|error| LogError::Fatal(format!("no thread could be started to append: {error}")))?;
        Ok(Appender { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues the records at once; the future is their acknowledgement.
    pub(super) fn append(&self, records: &Records) -> Result<Acknowledged> {
        if self.shared.stop.load(Ordering::Relaxed) {
            return Err(LogError::Closed);
        }
        let bytes = records.bytes() + records.len() * RECORD_OVERHEAD;
        self.shared.admission.enter(bytes)?;
        let pending = Pending::new(records.len(), bytes);
        let client = self.shared.client.load();
        let mut queued = 0;
        for record in records.iter() {
            if let Err(error) = send(&client, &self.shared.names, record, pending.clone()) {
                pending.fail(match error.rdkafka_error_code() {
                    Some(Code::QueueFull) => {
                        LogError::Busy { queued_bytes: self.shared.admission.queued_bytes.load(Ordering::Relaxed) }
                    }
                    _ => errors::unavailable("appending", &error),
                });
                // What follows must not be durable where what came before is not.
                break;
            }
            queued += 1;
        }
        self.shared.admission.settle(&pending, records.len() - queued + 1);
        Ok(Acknowledged(pending))
    }

    /// Refuses further appends, flushes within the delivery timeout and ends the thread.
    pub(super) fn close_blocking(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the append thread panicked");
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// The poll thread: runs deliveries, replaces a broken producer, flushes at the end.
    fn serve(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let client = self.client.load_full();
            client.poll(POLL);
            if client.context().broken.load(Ordering::Relaxed) {
                self.replace(client);
            }
        }
        let client = self.client.load_full();
        let deadline = Instant::now() + self.settings.delivery_timeout();
        while client.in_flight_count() > 0 && Instant::now() < deadline {
            client.poll(Duration::from_millis(5));
        }
        client.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        client.poll(POLL);
    }

    /// Appends that are under way fail as unavailable: their callers send again, which is safe.
    fn replace(&self, broken: Arc<BaseProducer<Deliveries>>) {
        let fresh = loop {
            match build(&self.settings, &self.admission, &self.health) {
                Ok(fresh) => break fresh,
                Err(error) => {
                    self.health.append_failed(error.to_string());
                    broken.poll(REBUILD_EVERY);
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        };
        drop(self.client.swap(Arc::new(fresh)));
        // Appends that still hold it must not be the ones to close it.
        let mut broken = broken;
        loop {
            match Arc::try_unwrap(broken) {
                Ok(last) => return drop(last),
                Err(shared) => broken = shared,
            }
            broken.poll(Duration::from_millis(1));
        }
    }
}

fn build(
    settings: &Settings,
    admission: &Arc<Admission>,
    health: &Arc<Health>,
) -> Result<BaseProducer<Deliveries>, KafkaError> {
    settings.producer().create_with_context(Deliveries {
        admission: admission.clone(),
        health: health.clone(),
        broken: AtomicBool::new(false),
    })
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
    let mut message = BaseRecord::with_opaque_to(names.physical(record.topic), opaque)
        .partition(record.partition.cast_signed())
        .timestamp(record.timestamp_ms)
        .key(record.key);
    message.payload = record.value;
    if !record.headers.packed().is_empty() {
        let headers = record.headers.iter().fold(OwnedHeaders::new_with_capacity(4), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        message = message.headers(headers);
    }
    client.send(message).map_err(|(error, _)| error)
}
