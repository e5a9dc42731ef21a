//! One lifecycle for the process: running, draining (the first signal), stopped (the second
//! signal, or the drain's bound). Every task is tracked; one that fails takes the process down.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    drain: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    /// Those that end at the hard stop. They are aborted: one that looked for it would do so every
    /// time that it is woken.
    detached: Mutex<JoinSet<()>>,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    pub fn new() -> Self {
        Lifecycle(Arc::new(Inner {
            drain: CancellationToken::new(),
            hard: CancellationToken::new(),
            tasks: TaskTracker::new(),
            detached: Mutex::default(),
            failure: Mutex::new(None),
        }))
    }

    /// Runs a task of the process. It should end by itself once [`Lifecycle::draining`]
    /// resolves; an error or a panic drains the process, which then exits with failure.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let hard = this.0.hard.clone();
            let inner = tokio::spawn(async move {
                tokio::select! {
                    result = task => result,
                    () = hard.cancelled() => Ok(()),
                }
            });
            match inner.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => this.fail(error.context(format!("the task '{name}' failed"))),
                Err(panic) => this.fail(anyhow::anyhow!("the task '{name}' panicked: {panic}")),
            }
        });
    }

    /// Runs a short task that is waited for when draining, but whose failure is its own.
    pub fn spawn_detached<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let this = self.clone();
        // An `async` block would hold the task twice: as what it was given, and as what it awaits.
        let task = task.map(move |()| {
            // Of one that has ended there is something left until it is joined.
            while lock(&this.0.detached).try_join_next().is_some() {}
        });
        lock(&self.0.detached).spawn(self.0.tasks.track_future(task));
        if self.0.hard.is_cancelled() {
            self.abort_detached();
        }
    }

    fn abort_detached(&self) {
        lock(&self.0.detached).abort_all();
    }

    /// Begins the drain because of an error; the first one is what the process exits with.
    pub fn fail(&self, error: anyhow::Error) {
        tracing::error!(
            error = format!("{error:#}"),
            "stopping because of a failure"
        );
        lock(&self.0.failure).get_or_insert(error);
        self.drain();
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.0.drain.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.0.drain.is_cancelled()
    }

    /// Resolves when the drain begins.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.drain.clone().cancelled_owned()
    }

    /// Waits for a signal or a failure, drains for at most `bound`, then ends what is left.
    pub async fn run(&self, bound: Duration) -> anyhow::Result<()> {
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted: draining"),
            _ = terminate.recv() => tracing::info!("asked to stop: draining"),
            () = self.draining() => {}
        }
        self.drain();
        self.0.tasks.close();
        tokio::select! {
            () = self.0.tasks.wait() => {}
            _ = interrupt.recv() => tracing::warn!("interrupted again: stopping at once"),
            _ = terminate.recv() => tracing::warn!("asked again to stop: stopping at once"),
            () = tokio::time::sleep(bound) => tracing::warn!(?bound, "the drain took too long: stopping at once"),
        }
        self.0.hard.cancel();
        self.abort_detached();
        lock(&self.0.failure).take().map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
