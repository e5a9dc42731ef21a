//! Measures the embedded log: durable records/s in units of a given size while retention works,
//! the slowest unit, and how fast the records are read back.
//!
//!     cargo run --release -p laneway-log --example embedded_rate -- [unit] [seconds] [writers]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use laneway_log::{Backend, EmbeddedConfig, KafkaConfig, LogConfig, Records, Topic, TopicSetup};

const PARTITIONS: u32 = 24;

fn config(path: &std::path::Path) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions: PARTITIONS,
        retention_seconds: 3600,
        retention_bytes: 16 << 20,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 64 << 20,
        session_timeout_ms: 10_000,
        embedded: EmbeddedConfig {
            path: path.to_owned(),
            min_free_bytes: 1 << 30,
            cache_bytes: 256 << 20,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "retention goes by the real clock"
)]
fn unit_of(size: u32, start: u32) -> Records {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    let now = i64::try_from(now).expect("before the year 292 million");
    let value = [b'v'; 180];
    let mut records = Records::with_capacity(size as usize, size as usize * 200);
    for n in start..start + size {
        let key = format!("tenant/device-{:06}", n % 100_000);
        records.push(
            Topic::LocationUpdates,
            n % PARTITIONS,
            now,
            key.as_bytes(),
            [],
            &value,
        );
    }
    records
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|a| a.parse::<u32>().expect("a number"));
    let unit = arguments.next().unwrap_or(500);
    let seconds = arguments.next().unwrap_or(20);
    let writers = arguments.next().unwrap_or(8);
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let log = laneway_log::open(&config(folder.path()))
        .await
        .expect("opening");
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds.into());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let (mut waits, mut start) = (Vec::new(), writer * 7_919);
            while Instant::now() < until {
                let records = unit_of(unit, start % 1_000_000);
                let asked = Instant::now();
                log.append(records).await.expect("appending");
                waits.push(asked.elapsed());
                start += unit;
            }
            waits
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.extend(done.expect("a writer"));
    }
    let took = started.elapsed().as_secs_f64();
    waits.sort_unstable();
    let records = waits.len() as f64 * f64::from(unit);
    let cpu = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| {
            let fields: Vec<_> = stat
                .rsplit(')')
                .next()?
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            Some(
                (fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
                    / 100.0,
            )
        });
    println!(
        "{:.0} records/s in units of {unit}, {writers} writers; unit p50 {:?}, p99 {:?}, worst {:?}; {:.1} CPU-s per million",
        records / took,
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits.last().copied().unwrap_or_default(),
        cpu.unwrap_or_default() / records * 1e6,
    );
    let file = std::fs::metadata(folder.path().join("log.redb")).map_or(0, |m| m.len());
    let mut from = Vec::new();
    let mut kept = 0;
    for partition in 0..PARTITIONS {
        let bounds = log
            .bounds(Topic::LocationUpdates, partition)
            .await
            .expect("bounds");
        kept += bounds.end - bounds.earliest;
        from.push((partition, bounds.earliest));
    }
    let started = Instant::now();
    let mut reader = log
        .reader(Topic::LocationUpdates, from)
        .await
        .expect("a reader");
    let mut read = 0;
    while read < kept {
        read += reader.next().await.expect("reading").len() as u64;
    }
    println!(
        "{kept} records kept in a file of {} MiB, read at {:.0} records/s",
        file >> 20,
        read as f64 / started.elapsed().as_secs_f64()
    );
    log.close().await;
}
