//! A partition that is projected: what of it is to be written next, and the write of that.

use std::time::Duration;

use laneway_store::{ProjectionBatch, StoreError};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Projection;
use crate::stored::{AGAIN, GENERATION};

/// How long the other lanes wait for the write of one.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Lane {
    /// What is to be written next. It begins where the store is.
    pub(super) open: ProjectionBatch,
    write: Option<AbortOnDropHandle<Result<(), StoreError>>>,
    /// `open` cannot be written at once: until it is, nothing is added to it.
    pub(super) waits: bool,
    /// The last write failed.
    pub(super) away: bool,
    try_at: Instant,
    /// Where the member is that has read on meanwhile. What lies between is read beside it.
    pub(super) behind: Option<u64>,
}

impl Lane {
    pub(super) fn at(partition: u32, offset: u64) -> Self {
        Lane {
            open: ProjectionBatch {
                generation: GENERATION,
                partition,
                from_offset: offset,
                to_offset: offset,
                ..ProjectionBatch::default()
            },
            write: None,
            waits: false,
            away: false,
            try_at: Instant::now(),
            behind: None,
        }
    }

    pub(super) fn is_to_be_written(&self) -> bool {
        !self.waits && self.open.to_offset > self.open.from_offset
    }

    /// Begins to write what is open.
    fn begin(&mut self, projection: &Projection) {
        let (store, authority) = (projection.store.clone(), projection.authority);
        let batch = self.open.clone();
        let write = tokio::spawn(async move { store.project(&authority, batch).await });
        self.write = Some(AbortOnDropHandle::new(write));
    }

    /// Writes what is open; `None` where that takes so long that it goes on by itself.
    pub(super) async fn write(
        &mut self,
        projection: &Projection,
    ) -> Option<Result<(), StoreError>> {
        self.begin(projection);
        let written = tokio::time::timeout(PATIENCE, self.written()).await.ok();
        self.waits = written.is_none();
        written
    }

    /// What comes of the write that goes on. Cancel-safe.
    async fn written(&mut self) -> Result<(), StoreError> {
        let Some(write) = &mut self.write else {
            return std::future::pending().await;
        };
        let written = write.await;
        self.write = None;
        written.unwrap_or_else(|error| {
            Err(StoreError::Unavailable {
                doing: "writing the projection",
                reason: error.to_string(),
            })
        })
    }

    /// Goes on with what comes after what was written; gives back how it was before.
    pub(super) fn next(&mut self) -> Self {
        let next = Lane {
            behind: self.behind,
            ..Lane::at(self.open.partition, self.open.to_offset)
        };
        std::mem::replace(self, next)
    }

    /// It could not be written, and is tried again in a moment.
    pub(super) fn failed(&mut self) {
        self.waits = true;
        self.away = true;
        self.try_at = Instant::now() + AGAIN;
    }
}

/// Tries again with the lane that has waited longest, one at a time.
pub(super) fn try_again<'a>(projection: &Projection, lanes: impl Iterator<Item = &'a mut Lane>) {
    let mut longest: Option<&mut Lane> = None;
    for lane in lanes {
        if lane.write.is_some() {
            return;
        }
        let first = longest
            .as_ref()
            .is_none_or(|found| lane.try_at < found.try_at);
        if lane.waits && lane.try_at <= Instant::now() && first {
            longest = Some(lane);
        }
    }
    if let Some(lane) = longest {
        lane.begin(projection);
    }
}

/// What comes of a write that goes on by itself. Cancel-safe.
pub(super) async fn written<'a>(
    mut lanes: impl Iterator<Item = &'a mut Lane>,
) -> (u32, Result<(), StoreError>) {
    match lanes.find(|lane| lane.write.is_some()) {
        Some(lane) => (lane.open.partition, lane.written().await),
        None => std::future::pending().await,
    }
}
