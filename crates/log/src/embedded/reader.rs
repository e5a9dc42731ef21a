//! A reader without a group.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Shared;
use super::cursor::Cursor;
use crate::{Batch, Reader, Result, Topic};

pub(super) struct EmbeddedReader {
    shared: Arc<Shared>,
    topic: Topic,
    cursor: Cursor,
}

impl EmbeddedReader {
    pub(super) fn new(shared: &Arc<Shared>, topic: Topic, from: Vec<(u32, u64)>) -> Result<Self> {
        let mut reader = EmbeddedReader {
            shared: Arc::clone(shared),
            topic,
            cursor: Cursor::new(Arc::clone(shared)),
        };
        for (partition, offset) in from {
            reader.assign(partition, offset)?;
        }
        Ok(reader)
    }
}

impl Reader for EmbeddedReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(self.cursor.next(true))
    }

    fn assign(&mut self, partition: u32, offset: u64) -> Result<()> {
        self.shared.partition(self.topic, partition)?;
        self.cursor.set(self.topic, partition, offset);
        Ok(())
    }

    fn unassign(&mut self, partition: u32) -> Result<()> {
        self.cursor.remove(self.topic, partition);
        Ok(())
    }
}
