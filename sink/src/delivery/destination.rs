//! What a destination is to the engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use laneway_directory::DestinationEntry;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;

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

/// One receiver of a tenant. One folder a kind implements it.
pub trait Destination: Send + Sync + 'static {
    /// One attempt, bounded in time.
    fn deliver(self: Arc<Self>, event: Arc<Event>) -> BoxFuture<'static, Outcome>;
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
