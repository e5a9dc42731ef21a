//! The door to a member's transactional producer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use super::unit::{Request, UnitWorker};
use crate::{Committer, LogError, Result, Unit};

/// Units that may wait for the one that is being committed.
const QUEUED_UNITS: usize = 16;

pub(super) struct KafkaCommitter {
    requests: Sender<Request>,
    room: Arc<Semaphore>,
}

impl KafkaCommitter {
    /// Starts the worker's thread, and waits until its producer is ready.
    pub(super) async fn start(worker: UnitWorker, stopping: &Arc<AtomicBool>) -> Result<Arc<Self>> {
        let (requests, received) = channel();
        let (report, ready) = oneshot::channel();
        std::thread::Builder::new()
            .name("log-unit".to_owned())
            .spawn(move || {
                let initialised = worker.init();
                let serving = initialised.is_ok();
                // A caller that no longer waits for the member needs no worker either.
                if report.send(initialised).is_ok() && serving {
                    worker.serve(&received);
                }
            })
            .map_err(|error| {
                LogError::Fatal(format!(
                    "no thread could be started to commit units: {error}"
                ))
            })?;
        let cancelled = StopUnless(Some(stopping.clone()));
        ready.await.unwrap_or_else(|_| {
            Err(LogError::Fatal(
                "the thread that commits units ended".to_owned(),
            ))
        })?;
        cancelled.disarm();
        Ok(Arc::new(KafkaCommitter {
            requests,
            room: Arc::new(Semaphore::new(QUEUED_UNITS)),
        }))
    }
}

/// Stops the worker when the join is given up while its producer is still being prepared.
struct StopUnless(Option<Arc<AtomicBool>>);

impl StopUnless {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopUnless {
    fn drop(&mut self) {
        if let Some(stopping) = &self.0 {
            stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Committer for KafkaCommitter {
    fn commit(&self, unit: Unit) -> BoxFuture<'static, Result<()>> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.clone();
        let room = self.room.clone();
        // Without a wait, units queue in the order of the calls, not of the polls.
        let mut request = Some((unit, answer));
        let mut permit = room.clone().try_acquire_owned().ok();
        if permit.is_some()
            && let Some(request) = request.take()
            && requests.send(request).is_err()
        {
            return std::future::ready(Err(LogError::Closed)).boxed();
        }
        async move {
            if let Some(request) = request {
                permit = Some(room.acquire_owned().await.map_err(|_| LogError::Closed)?);
                requests.send(request).map_err(|_| LogError::Closed)?;
            }
            let outcome = answered.await;
            drop(permit);
            outcome.unwrap_or_else(|_| {
                Err(LogError::Fatal(
                    "the thread that commits units ended before it answered; restart, to go on from the committed \
                     offsets"
                        .to_owned(),
                ))
            })
        }
        .boxed()
    }
}
