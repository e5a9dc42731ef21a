//! Composition: what each role needs, and how it runs.

mod health;
mod notices;
mod parts;
mod start;
mod topic_sets;
mod unguarded;
mod uses;

use std::sync::Arc;

use laneway_control::{Backup, Control, ControlDeps};
use laneway_hosts::{Certificates, Names};
use laneway_ingest::{Ingest, IngestDeps};
use laneway_processor::{Processor, ProcessorDeps};
use laneway_runtime::http::{HealthService, ListenConfig, OpsService, Routes, Server, Service};
use laneway_runtime::{CheckState, Health, Lifecycle, telemetry};
use laneway_sink::{Sink, SinkDeps};
use laneway_tenancy::LocalSocket;
use laneway_tenancy::control::RoleAuthority;

use crate::backup::EmbeddedBackup;
use crate::config::Config;
use parts::Parts;

/// Which roles a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    All,
    Ingest,
    Processor,
    Sink,
    Control,
}

impl Role {
    fn has(self, other: Role) -> bool {
        self == Role::All || self == other
    }

    pub fn name(self) -> &'static str {
        match self {
            Role::All => "all",
            Role::Ingest => "ingest",
            Role::Processor => "processor",
            Role::Sink => "sink",
            Role::Control => "control",
        }
    }
}

/// Runs until it is told to stop, and has drained.
pub async fn run(role: Role, config: Config) -> anyhow::Result<()> {
    telemetry::init_logs(config.telemetry.log_format, &config.telemetry.log_filter)?;
    anyhow::ensure!(
        role == Role::All || config.log.backend == laneway_log::Backend::Kafka,
        "the embedded log belongs to one process: run `laneway all`, or set log.backend = \"kafka\" for roles of their own"
    );
    unguarded::check_listener(&config, role)?;
    let lifecycle = Lifecycle::new();
    let health = Health::new();
    let prometheus = telemetry::init_metrics()?;
    lifecycle.spawn(
        "metrics upkeep",
        telemetry::upkeep(prometheus.clone(), lifecycle.clone()),
    );

    // Taken before anything is opened: a port in use is known at once.
    let certificates = Arc::new(Certificates::default());
    let listener = Server::bind(ListenConfig {
        host_certificates: Some(certificates.clone()),
        ..config.listener(role)
    })?;
    let ops = config
        .ops
        .listen
        .map(|address| Server::bind(ListenConfig::plain(address)))
        .transpose()?;
    let socket = role
        .has(Role::Control)
        .then(|| local_socket(&config))
        .transpose()?;

    let parts = Parts::open(role, &config).await?;
    parts.follow(&lifecycle, &health);
    if role != Role::Processor && !config.http.tls.cert_file.as_os_str().is_empty() {
        let authority = RoleAuthority::for_role("tls");
        let (store, directory) = (parts.store()?, parts.directory.clone());
        let follow = certificates.follow(store, directory, authority, lifecycle.clone());
        lifecycle.spawn("certificates of hosts", follow);
    }
    notices::spawn(
        role,
        &config.instance,
        &parts.announcer,
        &health,
        &lifecycle,
    );
    let probes = HealthService::new(health.clone(), lifecycle.clone());
    let mut routes = Routes::new();
    if role.has(Role::Processor) {
        processor(&parts, &config, &health, &lifecycle)?;
    }
    if role.has(Role::Ingest) {
        routes = routes.route("/location", ingest(&parts, &config, &lifecycle)?);
    }
    if role.has(Role::Sink) {
        routes = routes.route("/stream", sink(&parts, &config, &health, &lifecycle)?);
    }
    if role.has(Role::Control) {
        let control = control(&parts, &config, &lifecycle)?;
        if let Some(socket) = socket {
            let local = Routes::new()
                .route("/health", probes.clone())
                .route("/", control.clone());
            socket.serve(Arc::new(local), &lifecycle);
        }
        routes = routes.route("/", control);
    }
    if let Some(ops) = ops {
        ops.serve(
            OpsService::new(probes.clone(), prometheus, parts.tenant_metrics.clone()),
            &lifecycle,
        );
    }
    let address = listener.local_addr();
    // Whoever asks for health may do so under any name.
    let named = Names::new(
        parts.directory.clone(),
        parts.clock.clone(),
        Arc::new(routes),
    );
    let routes = Routes::new().route("/health", probes).route("/", named);
    listener.serve(Arc::new(routes), &lifecycle);
    tracing::info!(
        role = role.name(),
        instance = config.instance,
        address = address.map(tracing::field::display),
        "serving"
    );

    let result = lifecycle.run(config.drain()).await;
    parts.close().await;
    tracing::info!("stopped");
    result
}

fn local_socket(config: &Config) -> anyhow::Result<Server> {
    crate::secrets::private_folder(&config.data_dir)?;
    Server::bind_unix(&config.socket())
}

fn processor(
    parts: &Parts,
    config: &Config,
    health: &Health,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    for set in parts.log.sets().all() {
        let processor = Processor::build(ProcessorDeps {
            log: parts.log.clone(),
            set,
            codecs: parts.codecs.clone(),
            directory: parts.directory.clone(),
            clock: parts.clock.clone(),
            settings: config.processor.clone(),
            instance: config.instance.clone(),
        })?;
        let state = processor.health();
        health.add("processor", move || health::failing(state.check()));
        lifecycle.spawn("processor", processor.run(lifecycle.clone()));
    }
    Ok(())
}

fn ingest(
    parts: &Parts,
    config: &Config,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Service>> {
    let ingest = Ingest::build(IngestDeps {
        log: parts.log.clone(),
        codecs: parts.codecs.clone(),
        authenticator: parts.authenticator()?,
        store: parts.store()?,
        directory: parts.directory.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        tenant_metrics: parts.tenant_metrics.clone(),
        settings: config.ingest.clone(),
    });
    lifecycle.spawn("ingest", ingest.clone().run(lifecycle.clone()));
    Ok(ingest)
}

fn sink(
    parts: &Parts,
    config: &Config,
    health: &Health,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Service>> {
    let mut settings = config.sink.clone();
    if settings.token_key.is_empty() {
        settings.token_key = parts.derived_key("sink.token_key")?;
    }
    let sink = Sink::build(SinkDeps {
        log: parts.log.clone(),
        codecs: parts.codecs.clone(),
        directory: parts.directory.clone(),
        authenticator: parts.authenticator()?,
        store: parts.store()?,
        authority: RoleAuthority::for_role("sink"),
        clock: parts.clock.clone(),
        metrics: parts.tenant_metrics.clone(),
        settings,
        instance: config.instance.clone(),
    })?;
    let state = sink.clone();
    health.add("sink", move || {
        state.trouble().map_or(CheckState::Ok, CheckState::Degraded)
    });
    lifecycle.spawn("sink", sink.clone().run(lifecycle.clone()));
    Ok(sink)
}

fn control(
    parts: &Parts,
    config: &Config,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<dyn Service>> {
    let embedded = config.log.backend == laneway_log::Backend::Embedded
        && config.store_is_embedded()
        && config.shard_files()?.is_some();
    let store = parts.store()?;
    let backup = embedded.then(|| {
        let (store, log) = (store.clone(), parts.log.clone());
        let backup = EmbeddedBackup::new(config, store, log, parts.clock.clone());
        Arc::new(backup) as Arc<dyn Backup>
    });
    let mut settings = config.control.clone();
    settings.node = config.instance.clone();
    if config.log.backend == laneway_log::Backend::Kafka {
        settings.append_bound_ms = config.log.kafka.delivery_timeout_ms.into();
    }
    settings.retention_seconds = config.log.retention_seconds;
    settings.idle_close_seconds = config.processor.idle_close_seconds;
    settings.hosts = config.hosts.proof.clone();
    let control = Control::build(ControlDeps {
        store,
        authenticator: parts.authenticator()?,
        log: parts.log.clone(),
        codecs: parts.codecs.clone(),
        directory: parts.directory.clone(),
        clock: parts.clock.clone(),
        random: parts.random.clone(),
        authority: RoleAuthority::for_role("control"),
        local_socket: Some(LocalSocket::bound_for_operator()),
        backup,
        tenant_metrics: parts.tenant_metrics.clone(),
        announcer: parts.announcer.clone(),
        settings,
    });
    lifecycle.spawn("control", control.clone().run(lifecycle.clone()));
    Ok(control)
}
