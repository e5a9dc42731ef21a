//! Following a compacted topic: all that it keeps, then what is appended.

use std::sync::Arc;
use std::time::Duration;

use crate::{Batch, Log, Reader, Result, Topic};

const RETRY: Duration = Duration::from_millis(500);

/// Reads every partition of a topic from its beginning, for ever.
pub struct Follower {
    log: Arc<dyn Log>,
    topic: Topic,
    reader: Option<Box<dyn Reader>>,
    /// The next offset to read, by partition.
    next: Vec<u64>,
    /// Where each partition ended when following began.
    ends: Option<Vec<u64>>,
}

impl Follower {
    pub fn new(log: Arc<dyn Log>, topic: Topic) -> Self {
        let next = vec![0; log.partitions(topic) as usize];
        Follower {
            log,
            topic,
            reader: None,
            next,
            ends: None,
        }
    }

    /// The next batch of any partition. Trouble with the log is retried. Cancel-safe.
    pub async fn next(&mut self) -> Batch {
        loop {
            match self.read().await {
                Ok(batch) => {
                    if let Some(next) = self.next.get_mut(batch.partition() as usize) {
                        *next = batch.next_offset().max(*next);
                    }
                    return batch;
                }
                Err(error) => {
                    self.reader = None;
                    tracing::warn!(topic = %self.topic, %error, "following a topic failed; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Whether everything that was there at the beginning has been read.
    pub fn is_caught_up(&self) -> bool {
        let read = |ends: &Vec<u64>| self.next.iter().zip(ends).all(|(next, end)| next >= end);
        self.ends.as_ref().is_some_and(read)
    }

    async fn read(&mut self) -> Result<Batch> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let mut ends = Vec::with_capacity(self.next.len());
                for (partition, next) in (0u32..).zip(&mut self.next) {
                    let bounds = self.log.bounds(self.topic, partition).await?;
                    *next = bounds.earliest.max(*next);
                    ends.push(bounds.last_stable);
                }
                self.ends.get_or_insert(ends);
                let from = (0u32..).zip(self.next.iter().copied()).collect();
                let reader = self.log.reader(self.topic, from).await?;
                self.reader.insert(reader)
            }
        };
        reader.next().await
    }
}
