//! Destinations that are receivers on loopback.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use laneway_directory::DestinationEntry;
use laneway_runtime::{Lifecycle, SystemClock};
use laneway_sink::delivery::{
    Deliveries, DeliveryDeps, Destination, DestinationFactory, OpenError,
};
use laneway_sink::settings::{DeliverySettings, WebhookSettings};
use laneway_sink::webhook::WebhookClient;
use laneway_tenancy::DestinationId;

use super::Rig;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct Receivers {
    client: WebhookClient,
    urls: HashMap<DestinationId, String>,
}

impl Receivers {
    pub fn new(urls: impl IntoIterator<Item = (DestinationId, String)>) -> Arc<Self> {
        Self::trusting("", urls)
    }

    /// Receivers whose certificates an authority of this PEM file has signed.
    pub fn trusting(
        ca_file: &str,
        urls: impl IntoIterator<Item = (DestinationId, String)>,
    ) -> Arc<Self> {
        let settings = WebhookSettings {
            allow_http: true,
            allow_private_networks: vec!["127.0.0.0/8".to_owned()],
            ca_file: ca_file.to_owned(),
            ..WebhookSettings::default()
        };
        let client = WebhookClient::new(&settings, Arc::new(SystemClock)).unwrap();
        Arc::new(Receivers {
            client,
            urls: urls.into_iter().collect(),
        })
    }
}

impl DestinationFactory for Receivers {
    fn open(
        &self,
        entry: Arc<DestinationEntry>,
    ) -> BoxFuture<'static, Result<Arc<dyn Destination>, OpenError>> {
        let webhook = self
            .client
            .webhook(&self.urls[&entry.id], SECRET)
            .map_err(OpenError::Settings);
        Box::pin(async move { Ok(Arc::new(webhook?) as Arc<dyn Destination>) })
    }
}

/// Quick to try again.
pub fn settings() -> DeliverySettings {
    DeliverySettings {
        commit_ms: 20,
        backoff_ms: 2,
        max_backoff_ms: 50,
        ..DeliverySettings::default()
    }
}

impl Rig {
    /// Starts delivering; ends with the lifecycle that is given back, in order.
    pub fn deliver(&self, receivers: &Arc<Receivers>, settings: DeliverySettings) -> Running {
        self.deliver_as("sink-1", receivers, settings)
    }

    /// The same as another member of the group.
    pub fn deliver_as(
        &self,
        instance: &str,
        receivers: &Arc<Receivers>,
        settings: DeliverySettings,
    ) -> Running {
        let lifecycle = Lifecycle::new();
        let deliveries = Deliveries::new(DeliveryDeps {
            log: Arc::clone(&self.log),
            codecs: Arc::clone(&self.codecs),
            directory: Arc::clone(&self.directory),
            factory: Arc::clone(receivers) as _,
            clock: Arc::new(SystemClock),
            metrics: Arc::clone(&self.metrics),
            settings,
            instance: instance.to_owned(),
            all_known: Duration::from_millis(200),
            seed: 1,
        });
        let task = tokio::spawn(Arc::new(deliveries).run(lifecycle.clone()));
        Running { lifecycle, task }
    }
}

pub struct Running {
    pub(super) lifecycle: Lifecycle,
    pub(super) task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Drains, as a process does that is asked to stop.
    pub async fn stop(self) {
        self.lifecycle.drain();
        self.task.await.unwrap().unwrap();
    }

    /// Ends at once, as a process does that is killed.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
