//! Measures the log on Kafka: appends, in batches and one by one, and a loop of units of work
//! that copies records. Says the rate and this process's CPU seconds per million records.
//!
//!     cargo run --release -p laneway-log --example kafka_rate -- HOST:PORT [records] [linger, ms]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use laneway_log::{
    Backend, EmbeddedConfig, Epoch, GroupSpec, KafkaConfig, Log, LogConfig, MemberEvent, Records,
    Topic, TopicSetup, Unit,
};

const PARTITIONS: u32 = 24;
const UNITS: [usize; 2] = [5_000, 25_000];
/// Units that are on their way while the next is filled.
const AHEAD: usize = 1;

fn config(bootstrap: &str, linger_ms: f64) -> LogConfig {
    LogConfig {
        backend: Backend::Kafka,
        topics: TopicSetup::Create,
        topic_prefix: format!("rate-{}-", now_ms()),
        topic_sets: Vec::new(),
        partitions: PARTITIONS,
        retention_seconds: 3600,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 64 << 20,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path: "unused".into(),
            min_free_bytes: 0,
            cache_bytes: 0,
        },
        kafka: KafkaConfig {
            linger_ms,
            transaction_timeout_ms: 10_000,
            delivery_timeout_ms: 30_000,
            ..KafkaConfig::plaintext(bootstrap)
        },
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement runs in the time of day"
)]
fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let (_, fields) = stat.rsplit_once(')').expect("the name in brackets");
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|t| t.parse::<f64>().expect("ticks"))
        .sum();
    ticks / 100.0
}

struct Stopwatch(Instant, f64);

impl Stopwatch {
    fn start() -> Self {
        Stopwatch(Instant::now(), cpu_seconds())
    }

    fn say(&self, what: &str, records: u64) {
        let (seconds, cpu) = (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
        let millions = records as f64 / 1e6;
        println!(
            "{what}: {:.0} records/s, {:.2} CPU-s per million",
            records as f64 / seconds,
            cpu / millions
        );
    }
}

fn fill(records: &mut Records, numbers: std::ops::Range<u64>) {
    let now = now_ms();
    for n in numbers {
        let key = format!("tenant/device-{:06}", n % 100_000);
        let partition = u32::try_from(n % u64::from(PARTITIONS)).expect("small");
        records.push(
            Topic::LocationUpdates,
            partition,
            now,
            key.as_bytes(),
            [],
            &[b'v'; 180],
        );
    }
}

/// `callers` tasks that append `size` records and wait, over and over.
async fn append(log: &Arc<dyn Log>, callers: usize, size: u64, total: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let watch = Stopwatch::start();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (log, next) = (log.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let start = next.fetch_add(size, Ordering::Relaxed);
                if start >= total {
                    return;
                }
                let mut records = Records::with_capacity(size as usize, size as usize * 210);
                fill(&mut records, start..start + size);
                log.append(records).await.expect("appending");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a caller");
    }
    watch.say(&format!("append, {size} a call, {callers} callers"), total);
}

/// Copies `total` records in units of `size`.
async fn copy(log: &Arc<dyn Log>, size: usize, total: u64) {
    let spec = GroupSpec::new(&format!("copy-{size}"), &[Topic::LocationUpdates], "one");
    let mut member = log.join(spec).await.expect("joining");
    let committer = member.committer();
    let mut flying = std::collections::VecDeque::new();
    let mut unit = Unit {
        epoch: Epoch(0),
        records: Records::new(),
        offsets: Vec::new(),
    };
    let (mut copied, mut watch) = (0, None);
    while copied < total {
        match member.next().await.expect("an event") {
            MemberEvent::Assigned { epoch, .. } => unit.epoch = epoch,
            MemberEvent::Records(batch) => {
                watch.get_or_insert_with(Stopwatch::start);
                for record in batch.iter() {
                    let value = record.value.expect("a value");
                    unit.records.push(
                        Topic::TenantStreams,
                        batch.partition(),
                        record.timestamp_ms,
                        record.key,
                        [],
                        value,
                    );
                }
                let place = unit
                    .offsets
                    .iter_mut()
                    .find(|(_, partition, _)| *partition == batch.partition());
                match place {
                    Some(place) => place.2 = batch.next_offset(),
                    None => {
                        unit.offsets
                            .push((batch.topic(), batch.partition(), batch.next_offset()))
                    }
                }
                copied += batch.len() as u64;
            }
            other => panic!("{other:?}"),
        }
        if unit.records.len() >= size || copied >= total {
            let next = Unit {
                epoch: unit.epoch,
                records: Records::new(),
                offsets: Vec::new(),
            };
            flying.push_back(committer.commit(std::mem::replace(&mut unit, next)));
            if flying.len() > AHEAD {
                flying.pop_front().expect("one").await.expect("committing");
            }
        }
    }
    for commit in flying {
        commit.await.expect("committing");
    }
    watch
        .expect("records")
        .say(&format!("copy in units of {size}"), copied);
    member.leave().await;
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments
        .next()
        .expect("usage: kafka_rate HOST:PORT [records] [linger, ms]");
    let total: u64 = arguments
        .next()
        .map_or(1_000_000, |n| n.parse().expect("a number of records"));
    let linger_ms: f64 = arguments
        .next()
        .map_or(1.0, |n| n.parse().expect("milliseconds"));
    let log = laneway_log::open(&config(&bootstrap, linger_ms))
        .await
        .expect("opening the log");
    append(&log, 16, 100, total).await;
    append(&log, 64, 1, total / 10).await;
    append(&log, 512, 1, total / 5).await;
    for size in UNITS {
        copy(&log, size, total).await;
    }
    log.close().await;
}
