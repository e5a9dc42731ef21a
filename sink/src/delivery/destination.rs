//! What a destination is to the engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use laneway_directory::DestinationEntry;
use laneway_store::Store;
use laneway_tenancy::DestinationId;
use laneway_tenancy::control::RoleAuthority;
use tokio::sync::mpsc;

use crate::webhook::WebhookClient;

/// An event on its way, the same for all destinations that want it.
#[derive(Debug)]
pub struct Event {
    pub offset: u64,
    /// The event id: the same on every attempt.
    pub id: Box<str>,
    pub device: Box<str>,
    /// The CloudEvent in JSON.
    pub body: Bytes,
    /// It comes from the dead letters.
    pub redriven: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// May succeed later.
    Failed {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The receiver will not have this event, it says. It is tried again all the same, but goes
    /// to the dead letters where it keeps being refused while others succeed.
    Refused {
        reason: String,
    },
}

impl Outcome {
    pub fn failed(reason: impl Into<String>) -> Self {
        Outcome::Failed {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

/// Events of one lane, by offset within a device; at most one of a device. With the generation
/// and the lane an offset is a position, which names what a destination writes: a retry
/// overwrites.
pub struct EventBatch {
    pub generation: u32,
    pub lane: u32,
    pub deliveries: Vec<Delivery>,
}

/// An event to deliver, and who waits to hear what came of it. Dropped without an outcome, it
/// has failed.
pub struct Delivery {
    event: Arc<Event>,
    attempt: Option<Attempt>,
}

/// Whose attempt it is, and where its outcome goes.
pub(super) struct Attempt {
    pub target: DestinationId,
    pub life: u64,
    /// Never holds more than is in flight.
    pub outcomes: mpsc::UnboundedSender<Attempted>,
}

/// What an attempt came to.
pub(super) struct Attempted {
    pub target: DestinationId,
    pub life: u64,
    pub event: Arc<Event>,
    pub outcome: Outcome,
}

impl Delivery {
    pub(super) fn new(event: Arc<Event>, attempt: Attempt) -> Self {
        Delivery {
            event,
            attempt: Some(attempt),
        }
    }

    pub fn event(&self) -> &Event {
        &self.event
    }

    pub fn done(mut self, outcome: Outcome) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: Outcome) {
        if let Some(attempt) = self.attempt.take() {
            // A lane that has moved away does not listen any more.
            let _ = attempt.outcomes.send(Attempted {
                target: attempt.target,
                life: attempt.life,
                event: Arc::clone(&self.event),
                outcome,
            });
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.report(Outcome::failed("the attempt ended without an outcome"));
    }
}

/// One receiver of a tenant. One folder a kind implements it.
pub trait Destination: Send + Sync + 'static {
    /// One attempt at each event of the batch. Each outcome is told as soon as it is known, and
    /// within bounds of time. Deliveries may outlive the future, until a file that holds them is
    /// closed for instance; what the future still holds when its lane moves away is dropped.
    fn deliver(self: Arc<Self>, batch: EventBatch) -> BoxFuture<'static, ()>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its settings do not allow a connection: until they are changed, it waits.
    #[error("the destination's settings are wrong: {0}")]
    Settings(String),
    #[error("the destination's settings cannot be read: {0}")]
    Unavailable(String),
}

/// Makes destinations from their settings.
pub trait DestinationFactory: Send + Sync + 'static {
    fn open(
        &self,
        entry: Arc<DestinationEntry>,
    ) -> BoxFuture<'static, Result<Arc<dyn Destination>, OpenError>>;
}

/// Addresses and secrets from the store.
pub struct StoreDestinations {
    pub store: Store,
    pub authority: RoleAuthority,
    pub webhooks: WebhookClient,
}

impl DestinationFactory for StoreDestinations {
    fn open(
        &self,
        entry: Arc<DestinationEntry>,
    ) -> BoxFuture<'static, Result<Arc<dyn Destination>, OpenError>> {
        let (store, webhooks) = (self.store.clone(), self.webhooks.clone());
        let scope = self.authority.scope(entry.tenant);
        Box::pin(async move {
            let unavailable = |e: laneway_store::StoreError| OpenError::Unavailable(e.to_string());
            if entry.body.kind != "webhook" {
                return Err(OpenError::Settings(format!(
                    "there is no kind {:?}",
                    entry.body.kind
                )));
            }
            let destinations = store.destinations(&scope);
            let found = destinations.find(entry.id).await.map_err(unavailable)?;
            let secret = destinations.secret(entry.id).await.map_err(unavailable)?;
            // Deleted: the news of it is on its way.
            let gone = || OpenError::Unavailable("it is not in the store".to_owned());
            let (found, secret) = (found.ok_or_else(gone)?, secret.ok_or_else(gone)?);
            let webhook = webhooks
                .webhook(&found.url, &secret)
                .map_err(OpenError::Settings)?;
            Ok(Arc::new(webhook) as Arc<dyn Destination>)
        })
    }
}
