//! Apache Kafka in KRaft mode, each node broker and controller at once.

mod node;
mod settings;
mod wire;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::node::Node;
use self::settings::{Ports, Security};
use super::process::ProcessGroup;
use super::{address, install};
use crate::FaultProxy;

const INSTALL: &str = "kafka-4.3.1";

/// What a test wants of its cluster. The default is one plain-text broker, from the environment
/// where that has an address.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// 1, or 3 with replication factor 3 and `min.insync.replicas` 2.
    pub brokers: usize,
    /// Clients come over TLS with SCRAM-SHA-512 and find plain text nowhere in the bootstrap list.
    pub sasl_ssl: bool,
    /// A private cluster even where the environment has an address: for tests that kill brokers.
    pub own: bool,
    /// Clients reach each broker through a [`FaultProxy`] alone, and so does whoever follows what
    /// the brokers advertise. It implies `own`.
    pub proxied: bool,
    /// Broker settings that replace or add to those of this crate. They imply `own`.
    pub settings: Vec<(String, String)>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: 1,
            sasl_ssl: false,
            own: false,
            proxied: false,
            settings: Vec::new(),
        }
    }
}

/// A cluster that ends when this is dropped, or one that the environment gave.
#[derive(Debug)]
pub struct KafkaCluster {
    bootstrap: String,
    security: Option<Security>,
    proxies: Vec<FaultProxy>,
    // Before the folder, so that the nodes are gone when it is removed.
    nodes: Vec<Node>,
    _folder: Option<TempDir>,
}

impl KafkaCluster {
    /// Starts the cluster and waits until each broker says that it sees all of them.
    pub async fn start(options: KafkaOptions) -> Result<Self> {
        ensure!(
            matches!(options.brokers, 1 | 3),
            "a test cluster has 1 or 3 brokers, not {}",
            options.brokers
        );
        let particular = options.own
            || options.proxied
            || options.sasl_ssl
            || options.brokers > 1
            || !options.settings.is_empty();
        if let Some(bootstrap) = address("LANEWAY_TEST_KAFKA").filter(|_| !particular) {
            return Ok(Self {
                bootstrap,
                security: None,
                proxies: Vec::new(),
                nodes: Vec::new(),
                _folder: None,
            });
        }
        let java = node::java_options(&install::installed(INSTALL)?)?;
        let folder = install::temporary_folder("kafka")?;
        let security = options.sasl_ssl.then(Security::generate).transpose()?;
        let mut nodes = (1..=options.brokers)
            .map(|id| Node::new(id, folder.path(), &java))
            .collect::<Result<Vec<_>>>()?;
        let mut proxies = Vec::new();
        if options.proxied {
            for node in &mut nodes {
                let proxy = FaultProxy::start(&format!("127.0.0.1:{}", node.ports.clients)).await?;
                node.ports.advertised = proxy.address().port();
                proxies.push(proxy);
            }
        }
        let all: Vec<Ports> = nodes.iter().map(|node| node.ports).collect();
        let clients = all
            .iter()
            .map(|ports| format!("127.0.0.1:{}", ports.advertised));
        let bootstrap = clients.collect::<Vec<_>>().join(",");
        try_join_all(
            nodes
                .iter()
                .map(|node| node.prepare(&all, security.as_ref(), &options.settings)),
        )
        .await?;
        let started = Self {
            bootstrap,
            security,
            proxies,
            nodes,
            _folder: Some(folder),
        };
        let processes = started
            .nodes
            .iter()
            .map(Node::spawn)
            .collect::<Result<Vec<_>>>()?;
        let expected: Vec<usize> = started.nodes.iter().map(|node| node.id).collect();
        try_join_all(
            started
                .nodes
                .iter()
                .zip(processes)
                .map(|(node, process)| node.adopt(process, &expected)),
        )
        .await?;
        Ok(started)
    }

    /// One plain-text broker for the whole test process. Tests in it use topics and groups of
    /// their own names.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<KafkaCluster> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(KafkaOptions::default()))
            .await
    }

    /// `host:port` of every broker, separated by commas. With `sasl_ssl` clients need
    /// [`ca_pem`](Self::ca_pem), [`username`](Self::username) and [`password`](Self::password).
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// As [`bootstrap`](Self::bootstrap), past the proxies and in plain text.
    pub fn bootstrap_inside(&self) -> String {
        let inside = |node: &Node| format!("127.0.0.1:{}", node.ports.brokers);
        self.nodes.iter().map(inside).collect::<Vec<_>>().join(",")
    }

    /// The proxy in front of the broker `index` (from 0).
    pub fn proxy(&self, index: usize) -> Result<&FaultProxy> {
        self.proxies.get(index).with_context(|| {
            format!("there is no proxy in front of Kafka broker {index}: start the cluster with `proxied: true`")
        })
    }

    /// The certificate that signed the brokers', if they speak TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.security
            .as_ref()
            .map(|security| security.ca_pem.as_str())
    }

    /// The SCRAM-SHA-512 user, if there is one.
    pub fn username(&self) -> Option<&str> {
        self.security
            .as_ref()
            .map(|security| security.username.as_str())
    }

    /// That user's password.
    pub fn password(&self) -> Option<&str> {
        self.security
            .as_ref()
            .map(|security| security.password.as_str())
    }

    /// The process of the broker `index` (from 0), to measure it.
    pub fn pid(&self, index: usize) -> Result<u32> {
        self.with_process(index, |process| Ok(process.pid()))
    }

    /// Kill -9 of the broker `index` (from 0).
    pub fn kill(&self, index: usize) -> Result<()> {
        self.with_process(index, |process| process.kill().map(drop))
    }

    /// SIGSTOP: the broker keeps its connections and answers nothing, until [`cont`](Self::cont).
    pub fn stop_signal(&self, index: usize) -> Result<()> {
        self.with_process(index, |process| process.signal(Signal::STOP))
    }

    /// SIGCONT after [`stop_signal`](Self::stop_signal).
    pub fn cont(&self, index: usize) -> Result<()> {
        self.with_process(index, |process| process.signal(Signal::CONT))
    }

    /// Starts a killed broker again on its ports and data, and waits until it is in the cluster
    /// again. After kill -9 that takes at least the broker session's 3 s.
    pub async fn restart(&self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        if let Some(process) = node.process()?.as_mut() {
            ensure!(
                process.ended()?.is_some(),
                "Kafka broker {index} is still running: kill it before restarting it"
            );
        }
        node.adopt(node.spawn()?, &[node.id]).await
    }

    fn node(&self, index: usize) -> Result<&Node> {
        self.nodes.get(index).with_context(|| {
            format!(
                "there is no Kafka broker {index} of ours among {}: start the cluster with `own: true`",
                self.nodes.len()
            )
        })
    }

    fn with_process<T>(
        &self,
        index: usize,
        act: impl FnOnce(&mut ProcessGroup) -> Result<T>,
    ) -> Result<T> {
        let mut process = self.node(index)?.process()?;
        act(process
            .as_mut()
            .with_context(|| format!("Kafka broker {index} has not been started"))?)
    }
}
