//! What roles share: the log, the store, codecs, the directory, authentication.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use laneway_directory::Directory;
use laneway_log::Log;
use laneway_notices::{Announcer, AnnouncerDeps};
use laneway_runtime::{CheckState, Clock, Health, Lifecycle, SystemClock, TenantMetrics};
use laneway_schemas::{Codecs, ConfluentRegistry, Registry};
use laneway_store::{Store, StoreConfig, StoreCredentials};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{AuthSettings, Authenticator, Random, SystemRandom};

use super::Role;
use super::health::{failing, watch_store};
use super::start::patiently;
use super::{topic_sets, unguarded, uses};
use crate::config::Config;
use crate::secrets;

pub struct Parts {
    pub log: Arc<dyn Log>,
    pub codecs: Arc<Codecs>,
    pub directory: Arc<Directory>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub tenant_metrics: Arc<TenantMetrics>,
    pub announcer: Arc<Announcer>,
    /// Not where only the processor runs and the registry is elsewhere.
    store: Option<Store>,
    authenticator: Option<Arc<Authenticator>>,
    hash_key: Option<secrets::Key>,
    needs_store: bool,
}

impl Parts {
    pub async fn open(role: Role, config: &Config) -> anyhow::Result<Parts> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let log = patiently("opening the log", || laneway_log::open(&config.log)).await?;
        let needs_store = role != Role::Processor;
        let store = if needs_store || config.registry.url.is_empty() {
            Some(open_store(config, &*random).await?)
        } else {
            None
        };
        if let Some(store) = store
            .as_ref()
            .filter(|_| needs_store && config.is_unguarded())
        {
            unguarded::check_store(store).await?;
        }
        if let Some(store) = &store {
            topic_sets::check(log.sets(), store).await?;
        }
        let registry: Arc<dyn Registry> = match &store {
            Some(store) if config.registry.url.is_empty() => Arc::new(store.schemas()),
            _ => Arc::new(confluent(config)?),
        };
        let codecs = Arc::new(Codecs::new(registry));
        for prefix in config.log.prefixes() {
            patiently("registering the schemas", || codecs.register(&prefix)).await?;
        }

        let hash_key = needs_store
            .then(|| {
                secrets::configured_or_kept(
                    "hash_key",
                    config.auth.hash_key.reveal(),
                    &config.data_dir,
                    &*random,
                )
            })
            .transpose()?;
        let authenticator = match (&store, hash_key) {
            (Some(store), Some(hash_key)) => Some(Arc::new(authenticator(
                config,
                store,
                hash_key,
                clock.clone(),
            ))),
            _ => None,
        };
        let directory = Arc::new(Directory::with_hosts(config.host_settings(role)));
        let announcer = Announcer::new(AnnouncerDeps {
            log: log.clone(),
            codecs: codecs.clone(),
            directory: directory.clone(),
            clock: clock.clone(),
            random: random.clone(),
            authority: RoleAuthority::for_role(role.name()),
            role: role.name(),
        });
        Ok(Parts {
            log,
            codecs,
            directory,
            clock,
            random,
            announcer,
            tenant_metrics: TenantMetrics::new(config.telemetry.metrics_tenants),
            store,
            authenticator,
            hash_key,
            needs_store,
        })
    }

    pub fn store(&self) -> anyhow::Result<Store> {
        self.store
            .clone()
            .context("this role was started without a store")
    }

    pub fn authenticator(&self) -> anyhow::Result<Arc<Authenticator>> {
        self.authenticator
            .clone()
            .context("this role was started without authentication")
    }

    /// A key of its own for another purpose, the same on all nodes that have the same hash key.
    pub fn derived_key(&self, purpose: &str) -> anyhow::Result<String> {
        let key = self
            .hash_key
            .context("this role was started without a hash key")?;
        Ok(secrets::derive(&key, purpose))
    }

    /// Starts what runs beside every role, and its health checks.
    pub fn follow(&self, lifecycle: &Lifecycle, health: &Health) {
        let (directory, log, codecs) = (
            self.directory.clone(),
            self.log.clone(),
            self.codecs.clone(),
        );
        lifecycle.spawn(
            "directory",
            laneway_directory::follow(directory, log, codecs, lifecycle.clone()),
        );
        lifecycle.spawn(
            "metrics by tenant",
            self.tenant_metrics.clone().follow(lifecycle.clone()),
        );

        let log = self.log.clone();
        health.add("log", move || {
            failing(log.health().map_err(|error| error.to_string()))
        });
        let directory = self.directory.clone();
        health.add("directory", move || {
            if directory.is_caught_up() {
                CheckState::Ok
            } else {
                CheckState::Failing("the tenants are still being read".to_owned())
            }
        });
        if let Some(authenticator) = self.authenticator.clone() {
            health.add("authentication", move || {
                authenticator
                    .degraded()
                    .map_or(CheckState::Ok, CheckState::Degraded)
            });
        }
        if let (Some(authenticator), Some(store)) = (&self.authenticator, &self.store) {
            let noting = uses::note(authenticator.clone(), store.clone(), lifecycle.clone());
            lifecycle.spawn("uses of credentials", noting);
        }
        if let Some(store) = self.store.clone().filter(|_| self.needs_store) {
            watch_store(store, lifecycle, health);
        }
    }

    /// After the drain.
    pub async fn close(self) {
        self.log.close().await;
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}

async fn open_store(config: &Config, random: &dyn Random) -> anyhow::Result<Store> {
    if config.store_is_embedded() {
        crate::secrets::private_folder(&config.data_dir)?;
    }
    let command = config.store.secret_key_command.trim();
    let secret_key = if command.is_empty() {
        secrets::configured_or_kept(
            "secret_key",
            config.store.secret_key.reveal(),
            &config.data_dir,
            random,
        )?
    } else {
        let limit = Duration::from_millis(config.store.secret_key_command_timeout_ms);
        secrets::command::key_of(command, limit).await?
    };
    let secret_keys_old = secrets::parse_list(config.store.secret_keys_old.reveal())
        .context("store.secret_keys_old has a key that is not 64 hexadecimal digits")?;
    let store = StoreConfig {
        url: config.store.url.reveal().to_owned(),
        max_connections: config.store.max_connections,
        acquire_timeout_ms: config.store.acquire_timeout_ms,
        secret_key,
        secret_keys_old,
        slow_query_ms: config.store.slow_query_ms,
        shards: config.shards()?,
    };
    patiently("opening the store", || Store::open(&store)).await
}

fn confluent(config: &Config) -> anyhow::Result<ConfluentRegistry> {
    let registry = &config.registry;
    let urls: Vec<String> = registry
        .url
        .split(',')
        .map(|url| url.trim().to_owned())
        .filter(|url| !url.is_empty())
        .collect();
    let login = (!registry.username.is_empty())
        .then(|| (registry.username.as_str(), registry.password.reveal()));
    Ok(ConfluentRegistry::new(
        &urls,
        login,
        Duration::from_millis(registry.timeout_ms),
    )?)
}

fn authenticator(
    config: &Config,
    store: &Store,
    hash_key: secrets::Key,
    clock: Arc<dyn Clock>,
) -> Authenticator {
    let auth = &config.auth;
    let settings = AuthSettings {
        cache_entries: auth.cache_entries,
        refresh_seconds: auth.refresh_seconds,
        offline_seconds: auth.offline_seconds,
        negative_seconds: auth.negative_seconds,
        failures_per_address: auth.failures_per_address,
        failures_per_device: auth.failures_per_device,
        password_threads: auth.password_threads,
        anyone_in: config
            .is_unguarded()
            .then(|| config.hosts.settings().default_namespace),
        ..AuthSettings::new(hash_key)
    };
    Authenticator::new(
        Arc::new(StoreCredentials(store.clone())),
        settings,
        Arc::new(move || clock.now_us()),
    )
}
