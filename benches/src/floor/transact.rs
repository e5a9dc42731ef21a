//! The least exactly-once loop: consume, parse nothing, produce one record for each, commit with
//! the offsets, in units of a given size, or of what there is where it follows a stream.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const STEP: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_millis(200);
/// Between looks at what is on its way: a poll that waits spins.
const LOOK: Duration = Duration::from_micros(250);

/// Copies `records` records from `input` to `output`; prints the seconds from first to last.
pub fn run(
    bootstrap: &str,
    group: &str,
    input: &str,
    output: &str,
    records: usize,
    unit: usize,
    follow: bool,
) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", format!("{group}-floor"))
        .set("linger.ms", if follow { "0" } else { "5" })
        .set("compression.codec", "lz4")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    producer.init_transactions(STEP)?;
    consumer.subscribe(&[input])?;
    let (mut done, mut began) = (0, None);
    while done < records {
        let mut offsets = TopicPartitionList::new();
        let mut taken = 0;
        while taken < unit && done + taken < records {
            let wait = if follow && taken > 0 {
                Duration::ZERO
            } else {
                PATIENCE
            };
            let Some(message) = consumer.poll(wait) else {
                if taken > 0 {
                    break;
                }
                continue;
            };
            let message = message?;
            if taken == 0 {
                producer.begin_transaction()?;
            }
            began.get_or_insert_with(Instant::now);
            send(
                &producer,
                output,
                message.key().unwrap_or_default(),
                message.payload().unwrap_or_default(),
            )?;
            let next = Offset::Offset(message.offset() + 1);
            if offsets
                .find_partition(message.topic(), message.partition())
                .is_none()
            {
                offsets.add_partition(message.topic(), message.partition());
            }
            offsets.set_partition_offset(message.topic(), message.partition(), next)?;
            taken += 1;
        }
        let flushed = Instant::now();
        // `flush` waits in steps of 100 ms.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::ZERO);
            std::thread::sleep(LOOK);
            if flushed.elapsed() > STEP {
                bail!(
                    "{} records are not acknowledged after {STEP:?}",
                    producer.in_flight_count()
                );
            }
        }
        let group = consumer
            .group_metadata()
            .context("the consumer has no group")?;
        producer.send_offsets_to_transaction(&offsets, &group, STEP)?;
        producer.commit_transaction(STEP)?;
        done += taken;
    }
    let seconds = began.map_or(0.0, |b| b.elapsed().as_secs_f64());
    println!("{seconds}");
    Ok(())
}

fn send(producer: &BaseProducer, topic: &str, key: &[u8], payload: &[u8]) -> Result<()> {
    loop {
        match producer.send(BaseRecord::to(topic).key(key).payload(payload)) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::ZERO);
                std::thread::sleep(LOOK);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
