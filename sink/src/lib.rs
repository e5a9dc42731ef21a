//! The sink: derived events to their receivers. Websockets and server-sent events
//! ([`stream`]), destinations of tenants ([`delivery`], [`webhook`]), the projection into the
//! store ([`projection`]), and the counts of what tenants use ([`metering`]).

pub mod delivery;
pub mod event;
pub mod http;
pub mod metering;
pub mod position;
pub mod projection;
pub mod settings;
mod stored;
pub mod stream;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use laneway_directory::Directory;
use laneway_log::Log;
use laneway_runtime::tenants::TenantMetrics;
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::Codecs;
use laneway_store::Store;
use laneway_store::audit::Denials;
use laneway_tenancy::Authenticator;
use laneway_tenancy::control::RoleAuthority;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use delivery::{Deliveries, DeliveryDeps, StoreDestinations};
use metering::{Metering, MeteringDeps};
use position::TokenKey;
use projection::Projection;
pub use settings::SinkSettings;
use stream::StreamContext;
use stream::connections::Connections;
use stream::elsewhere::Elsewhere;
use stream::history::History;
use stream::hub::{Hub, Tail};
use stream::opening::Openings;
use stream::revocations;
use stream::socket_use::SocketReports;
use webhook::WebhookClient;

/// What the sink needs of the process.
pub struct SinkDeps {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub authenticator: Arc<Authenticator>,
    pub store: Store,
    pub authority: RoleAuthority,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<TenantMetrics>,
    pub settings: SinkSettings,
    /// Names this process over its restarts; unique among live sinks.
    pub instance: String,
}

pub struct Sink {
    deps: SinkDeps,
    stream: Arc<StreamContext>,
    tail: std::sync::Mutex<Option<Tail>>,
    sockets: Arc<SocketReports>,
    elsewhere: Arc<Elsewhere>,
    deliveries: Arc<Deliveries>,
    /// One for each topic set.
    projections: Vec<Arc<Projection>>,
    meterings: Vec<Arc<Metering>>,
    /// Refusals on their way to the audit trail.
    denials: Denials,
    /// Of grants.
    openings: Openings,
}

/// Far more than the news of a control change takes to come to every sink.
const ALL_KNOWN: Duration = Duration::from_secs(60);

impl Sink {
    pub fn build(deps: SinkDeps) -> anyhow::Result<Arc<Self>> {
        let settings = &deps.settings;
        let tokens = TokenKey::new(&settings.token_key)?;
        let history = Arc::new(History::new(
            Arc::clone(&deps.log),
            Arc::clone(&deps.codecs),
            &settings.stream,
        ));
        let (hub, tail) = Hub::new(&deps.log, Arc::clone(&history));
        let delivered = deps.metrics.counter(
            "laneway_stream_events_total",
            "Events sent to websockets and as server-sent events.",
            &[],
        );
        let stop = CancellationToken::new();
        let stream = Arc::new(StreamContext {
            log: Arc::clone(&deps.log),
            hub,
            history,
            tokens,
            settings: settings.stream.clone(),
            connections: Arc::new(Connections::new(
                settings.stream.max_connections_per_tenant,
                stop.clone(),
                Arc::clone(&deps.clock),
            )),
            metrics: Arc::clone(&deps.metrics),
            delivered,
            clock: Arc::clone(&deps.clock),
            tasks: TaskTracker::new(),
            stop,
        });
        let webhooks = WebhookClient::new(&settings.webhook, Arc::clone(&deps.clock))?;
        let factory = StoreDestinations {
            store: deps.store.clone(),
            authority: deps.authority,
            webhooks,
        };
        let deliveries = Arc::new(Deliveries::new(DeliveryDeps {
            log: Arc::clone(&deps.log),
            codecs: Arc::clone(&deps.codecs),
            directory: Arc::clone(&deps.directory),
            factory: Arc::new(factory),
            clock: Arc::clone(&deps.clock),
            metrics: Arc::clone(&deps.metrics),
            settings: settings.delivery.clone(),
            instance: deps.instance.clone(),
            all_known: ALL_KNOWN,
            // Two processes that fail together need not try again together.
            seed: xxhash_rust::xxh3::xxh3_64_with_seed(
                deps.instance.as_bytes(),
                deps.clock.now_us().cast_unsigned(),
            ),
        }));
        let projection = |set| {
            Arc::new(Projection::new(
                (Arc::clone(&deps.log), set),
                Arc::clone(&deps.codecs),
                deps.store.clone(),
                deps.authority,
                settings.projection.clone(),
                deps.instance.clone(),
            ))
        };
        let metering = |set| {
            Arc::new(Metering::new(MeteringDeps {
                log: Arc::clone(&deps.log),
                set,
                codecs: Arc::clone(&deps.codecs),
                directory: Arc::clone(&deps.directory),
                store: deps.store.clone(),
                authority: deps.authority,
                clock: Arc::clone(&deps.clock),
                settings: settings.metering.clone(),
                instance: deps.instance.clone(),
            }))
        };
        let sets = deps.log.sets().all();
        let projections = sets.clone().map(projection).collect();
        let meterings = sets.map(metering).collect();
        let sockets = Arc::new(SocketReports {
            store: deps.store.clone(),
            authority: deps.authority,
            clock: Arc::clone(&deps.clock),
            node: deps.instance.clone(),
            life: deps.clock.now_us(),
        });
        let elsewhere = Arc::new(Elsewhere::new(
            deps.store.clone(),
            deps.authority,
            Arc::clone(&deps.clock),
            deps.instance.clone(),
            Arc::clone(&stream.connections),
        ));
        let tail = std::sync::Mutex::new(Some(tail));
        let denials = Denials::new(deps.store.clone());
        Ok(Arc::new(Sink {
            openings: Openings::default(),
            deps,
            stream,
            tail,
            sockets,
            elsewhere,
            deliveries,
            projections,
            meterings,
            denials,
        }))
    }

    /// Runs the live tail, the deliveries, the projection and metering until the drain has ended.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let tail = self
            .tail
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        let tail = tail.context("the sink runs already")?;
        let settings = &self.deps.settings;
        if settings.stream.enabled {
            lifecycle.spawn("live tail", tail.run(lifecycle.clone()));
            let connections = Arc::clone(&self.stream.connections);
            let sockets = Arc::clone(&self.sockets);
            lifecycle.spawn(
                "metering of connections",
                sockets.run(connections, lifecycle.clone()),
            );
            lifecycle.spawn(
                "connections elsewhere",
                Arc::clone(&self.elsewhere).run(lifecycle.clone()),
            );
        }
        let revocations = revocations::follow(
            Arc::clone(&self.stream),
            Arc::clone(&self.deps.authenticator),
            Arc::clone(&self.deps.directory),
            Arc::clone(&self.deps.clock),
        );
        lifecycle.spawn("revocations", async move {
            revocations.await;
            Ok(())
        });
        let (sink, clock) = (Arc::clone(&self), Arc::clone(&self.deps.clock));
        let stop = self.stream.stop.clone();
        lifecycle.spawn("refusals", async move {
            let now = move || clock.now_us();
            sink.denials.run(now, stop.cancelled_owned()).await;
            Ok(())
        });
        if settings.delivery.enabled {
            lifecycle.spawn(
                "deliveries",
                Arc::clone(&self.deliveries).run(lifecycle.clone()),
            );
        }
        if settings.projection.enabled {
            for projection in &self.projections {
                let projection = Arc::clone(projection).run(lifecycle.clone());
                lifecycle.spawn("projection", projection);
            }
        }
        if settings.metering.enabled {
            for metering in &self.meterings {
                let metering = Arc::clone(metering).run(lifecycle.clone());
                lifecycle.spawn("metering", metering);
            }
        }
        let clock = Arc::clone(&self.deps.clock);
        let now = move || clock.now_us();
        let denials = self.denials.run(now, lifecycle.draining());
        let streams = async {
            lifecycle.draining().await;
            self.stream.stop.cancel();
            self.stream.tasks.close();
            self.stream.tasks.wait().await;
        };
        tokio::join!(denials, streams);
        self.sockets.tell(&self.stream.connections).await;
        Ok(())
    }

    /// What keeps the sink from its work at the moment, in words.
    pub fn trouble(&self) -> Option<String> {
        let log = self.deps.log.health().err().map(|e| e.to_string());
        log.or_else(|| self.projections.iter().find_map(|p| p.trouble()))
            .or_else(|| self.meterings.iter().find_map(|m| m.trouble()))
    }
}
