//! Units of work: Kafka transactions (KIP-447), one at a time, on a thread of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext, PurgeConfig};
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::epochs::{Entered, Epochs};
use super::errors;
use super::health::{Health, log_line};
use super::producer::send;
use super::{Shared, settings::Settings};
use crate::{GroupSpec, LogError, Records, Result, Topic, Unit};

const DOING: &str = "committing a unit";
/// Between looks at what was refused of what is on its way.
const FLUSH_STEP_MS: i32 = 20;
/// What a partition is sent beyond this leaves in several requests, of which librdkafka has one
/// under way at a time; while it flushes, it waits for that one by polling without a pause. So it
/// flushes for a moment now and then.
const ONE_REQUEST_BYTES: usize = 1_000_000;
/// With a record's framing; also bounds how many are in a request.
const RECORD_OVERHEAD: usize = 100;
const FLUSH_MOMENT_MS: i32 = 1;
const BETWEEN_MOMENTS: Duration = Duration::from_millis(2);
const RETRY_EVERY: Duration = Duration::from_millis(5);
const CALL: Duration = Duration::from_secs(5);
const SERVE_EVERY: Duration = Duration::from_millis(100);
/// A coordinator that is loading, or that is still aborting what a predecessor left open.
const INIT_PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Request = (Unit, oneshot::Sender<Result<()>>);

/// The transactional producer of one member.
pub(super) struct UnitWorker {
    client: BaseProducer<UnitContext>,
    log: Arc<Shared>,
    epochs: Arc<Epochs>,
    group: String,
    stopping: Arc<AtomicBool>,
}

struct UnitContext {
    health: Arc<Health>,
    /// Why a record of the open transaction was refused.
    refused: Mutex<Option<KafkaError>>,
}

impl ClientContext for UnitContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("unit", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.client_error("unit", &error, reason);
    }
}

impl ProducerContext for UnitContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| error.clone());
        }
    }
}

impl UnitWorker {
    pub(super) fn new(
        log: &Arc<Shared>,
        spec: &GroupSpec,
        epochs: &Arc<Epochs>,
        stopping: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let context = UnitContext {
            health: log.health.clone(),
            refused: Mutex::new(None),
        };
        let client = log
            .settings
            .transactional(spec)
            .create_with_context(context)
            .map_err(|error| {
                LogError::Config(format!(
                    "the transactional Kafka producer refused its settings: {error}"
                ))
            })?;
        Ok(UnitWorker {
            client,
            log: log.clone(),
            epochs: epochs.clone(),
            group: spec.group.clone(),
            stopping: stopping.clone(),
        })
    }

    /// Takes the transactional id over: a predecessor is fenced, and what it left open aborted.
    pub(super) fn init(&self) -> Result<()> {
        let deadline = Instant::now() + INIT_PATIENCE;
        loop {
            match self.client.init_transactions(CALL) {
                Ok(()) => return Ok(()),
                Err(error) if retriable(&error) && Instant::now() < deadline && !self.stopped() => {
                    self.pause();
                }
                Err(error) => return Err(errors::unavailable("preparing units of work", &error)),
            }
        }
    }

    /// Commits what is requested until the member stops.
    pub(super) fn serve(self, requests: &Receiver<Request>) {
        while !self.stopped() {
            match requests.recv_timeout(SERVE_EVERY) {
                Ok((unit, answer)) => {
                    let _ = answer.send(self.commit(&unit));
                }
                Err(RecvTimeoutError::Timeout) => self.client.poll(Duration::ZERO),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while let Ok((_, answer)) = requests.try_recv() {
            let _ = answer.send(Err(LogError::Closed));
        }
    }

    fn stopped(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn settings(&self) -> &Settings {
        &self.log.settings
    }

    fn commit(&self, unit: &Unit) -> Result<()> {
        let entered = self.epochs.enter(unit.epoch)?;
        if unit.records.is_empty() && unit.offsets.is_empty() {
            return Ok(());
        }
        self.log.admissible(&unit.records)?;
        *self.refusal() = None;
        if let Err(error) = self.client.begin_transaction() {
            return Err(self.judge(&error));
        }
        if let Err(error) = self.fill(unit, &entered) {
            let cause = self.judge(&error);
            self.abort();
            return Err(cause);
        }
        self.finish(unit)
    }

    /// Everything of the unit, up to the commit.
    fn fill(&self, unit: &Unit, entered: &Entered<'_>) -> Result<(), KafkaError> {
        for record in unit.records.iter() {
            while let Err(error) = send(&self.client, &self.log.names, record, ()) {
                if error.rdkafka_error_code() != Some(Code::QueueFull) {
                    return Err(error);
                }
                self.pause();
            }
        }
        // Sending the offsets takes ten times as long while records are on their way.
        self.flush(largest_share(&unit.records));
        if let Some(refused) = self.refusal().take() {
            return Err(refused);
        }
        if unit.offsets.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::with_capacity(unit.offsets.len());
        for &(topic, partition, next) in &unit.offsets {
            let at = Offset::Offset(next.cast_signed());
            let (topic, partition) = self.log.names.physical(topic, partition);
            offsets.add_partition_offset(topic, partition, at)?;
        }
        let deadline = Instant::now() + self.settings().transaction_timeout();
        loop {
            match self
                .client
                .send_offsets_to_transaction(&offsets, &entered.metadata, CALL)
            {
                Err(error) if retriable(&error) && Instant::now() < deadline => self.pause(),
                outcome => return outcome,
            }
        }
    }

    /// Sends what lingers, at most `share` bytes to a partition, and waits until every record has
    /// its outcome, which the message timeout bounds. The wrapper's own flush does not wait, so
    /// that what lingers goes on lingering.
    #[expect(unsafe_code, reason = "the wrapper has no flush that waits")]
    fn flush(&self, share: usize) {
        let client = self.client.client().native_ptr();
        let (step_ms, pause) = if share > ONE_REQUEST_BYTES {
            (FLUSH_MOMENT_MS, BETWEEN_MOMENTS)
        } else {
            (FLUSH_STEP_MS, Duration::ZERO)
        };
        // SAFETY: the pointer is the client's, which lives for as long as it is borrowed.
        while unsafe { rd_kafka_flush(client, step_ms) } != NO_ERROR {
            // A record that was refused counts as on its way until it is taken off.
            self.client.poll(Duration::ZERO);
            std::thread::sleep(pause);
        }
        self.client.poll(Duration::ZERO);
    }

    /// Before asking again what was answered with "not now".
    fn pause(&self) {
        self.client.poll(Duration::ZERO);
        std::thread::sleep(RETRY_EVERY);
    }

    /// Commits, and asks again until the outcome is known.
    fn finish(&self, unit: &Unit) -> Result<()> {
        let mut asked_again = false;
        loop {
            let error = match self.client.commit_transaction(CALL) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if requires_abort(&error) {
                // The coordinator never took the commit up.
                let cause = self.judge(&error);
                self.abort();
                return Err(cause);
            }
            if !retriable(&error) {
                let cause = self.judge(&error);
                self.epochs.end(cause.clone());
                return Err(if self.may_be_committed(unit, asked_again) {
                    unknown(&error)
                } else {
                    cause
                });
            }
            if self.stopped() {
                self.epochs.end(LogError::Closed);
                return Err(unknown(&error));
            }
            tracing::debug!(group = self.group, %error, "asking again for the outcome of a commit");
            asked_again = true;
            self.pause();
        }
    }

    /// Whether a commit that ended in an error may have happened all the same: a successor
    /// under the same transactional id may have come between the commit and its answer.
    fn may_be_committed(&self, unit: &Unit, asked_again: bool) -> bool {
        if unit.offsets.is_empty() {
            return asked_again;
        }
        unit.offsets.iter().all(|&(topic, partition, next)| {
            let (set, partition) = self.log.names.sets().place(partition);
            let group = self.log.names.group(&self.group, set);
            match self.log.query.settled_offsets(&group, (topic, set)) {
                Ok(stable) => stable
                    .get(partition as usize)
                    .copied()
                    .flatten()
                    .is_some_and(|at| at >= next),
                Err(_) => true,
            }
        })
    }

    fn abort(&self) {
        // Aborting waits for records that only this thread's polls can take off.
        self.client.purge(PurgeConfig::default().queue().inflight());
        self.flush(0);
        let deadline = Instant::now() + self.settings().transaction_timeout();
        while let Err(error) = self.client.abort_transaction(CALL) {
            if retriable(&error) && Instant::now() < deadline {
                self.pause();
                continue;
            }
            // The coordinator aborts it when its timeout passes or the next member joins.
            tracing::info!(group = self.group, %error, "a transaction was left to its coordinator to abort");
            let cause = self.judge(&error);
            self.epochs.end(cause);
            return;
        }
    }

    /// What an error means to the caller; remembers one that the producer does not survive.
    fn judge(&self, error: &KafkaError) -> LogError {
        let fatal = self.client.client().fatal_error();
        let code = fatal
            .as_ref()
            .map(|(code, _)| *code)
            .or(error.rdkafka_error_code());
        let reason = fatal
            .as_ref()
            .map_or_else(|| errors::reason(error), |(_, reason)| reason.clone());
        let cause = match code {
            Some(code) if errors::is_fencing(code) => LogError::Fenced {
                doing: DOING,
                reason,
            },
            _ => LogError::Unavailable {
                doing: DOING,
                reason,
            },
        };
        if fatal.is_some() || errors::is_fatal(error) {
            self.epochs.end(cause.clone());
        }
        cause
    }

    fn refusal(&self) -> std::sync::MutexGuard<'_, Option<KafkaError>> {
        self.client
            .context()
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the partition gets that gets most, in bytes. A partition's records mostly lie together.
fn largest_share(records: &Records) -> usize {
    let mut shares: Vec<((Topic, u32), usize)> = Vec::new();
    let mut at = 0;
    for record in records.iter() {
        let place = (record.topic, record.partition);
        if shares.get(at).is_none_or(|(last, _)| *last != place) {
            let known = shares.iter().position(|(other, _)| *other == place);
            at = known.unwrap_or(shares.len());
            if known.is_none() {
                shares.push((place, 0));
            }
        }
        let value = record.value.map_or(0, <[u8]>::len);
        let bytes = record.key.len() + value + record.headers.packed().len();
        shares[at].1 += bytes + RECORD_OVERHEAD;
    }
    shares.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
}

fn unknown(error: &KafkaError) -> LogError {
    LogError::Fatal(format!(
        "whether a unit was committed is unknown ({}); restart, to go on from the committed offsets",
        errors::reason(error)
    ))
}

fn retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
        // A commit begins with a flush, which can only time out.
        KafkaError::Flush(_) => true,
        _ => false,
    }
}

fn requires_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_is_the_partitions_that_gets_most() {
        let mut records = Records::new();
        assert_eq!(largest_share(&records), 0);
        for (topic, partition) in [
            (Topic::TenantStreams, 1),
            (Topic::ProcessorState, 1),
            (Topic::TenantStreams, 2),
            (Topic::TenantStreams, 1),
        ] {
            records.push(topic, partition, 0, b"key", [], b"value");
        }
        assert_eq!(largest_share(&records), 2 * (3 + 5 + RECORD_OVERHEAD));
    }
}
