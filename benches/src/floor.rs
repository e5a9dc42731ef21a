//! Floors: the least programs that do only the raw work with the same libraries.

pub mod fanout;
pub mod ingest;
pub mod transact;
pub mod webhook;

use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

const ANSWER: Duration = Duration::from_secs(10);

/// Reads every partition of the topic from there, without a group.
pub fn assign(consumer: &BaseConsumer, topic: &str, from: Offset) -> Result<()> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
        all.add_partition_offset(topic, partition.id(), from)?;
    }
    Ok(consumer.assign(&all)?)
}
