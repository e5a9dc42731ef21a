//! A deployment of whole processes: `laneway all` on the embedded default, or the four roles on
//! Apache Kafka, PostgreSQL and a schema registry.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::process::Builder;
use laneway_testkit::{KafkaCluster, LanewayProcess, Postgres, Registry, ports};
use serde_json::Value;

use crate::client::Client;

const START: Duration = Duration::from_secs(180);

/// One process of the deployment.
pub struct Node {
    pub role: &'static str,
    builder: Builder,
    process: LanewayProcess,
    health: String,
}

impl Node {
    /// Starts it and waits until it says that it is ready.
    async fn start(role: &'static str, builder: Builder, health: String) -> Result<Self> {
        let process = builder.spawn()?;
        let mut node = Node {
            role,
            builder,
            process,
            health,
        };
        node.ready().await?;
        Ok(node)
    }

    pub async fn ready(&mut self) -> Result<()> {
        self.process.wait_http(&self.health, 200, START).await
    }

    /// Kill -9.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again, without waiting until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.process = self.builder.spawn()?;
        Ok(())
    }

    /// Base address of its metrics and of health with reasons.
    pub fn ops(&self) -> Client {
        Client::new(self.health.trim_end_matches("/health/ready"))
    }

    pub fn process(&mut self) -> &mut LanewayProcess {
        &mut self.process
    }
}

pub struct Deployment {
    pub nodes: Vec<Node>,
    /// Where devices send to.
    pub ingest: Client,
    /// Where the control API is.
    pub control: Client,
    /// Where `/stream` is.
    pub stream: String,
    binary: PathBuf,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    /// Where the roles are apart.
    servers: Option<Servers>,
}

/// Variables beside those that every deployment of the tests has.
pub type Settings<'a> = &'a [(&'a str, String)];

/// Servers of a distributed deployment.
#[derive(Clone)]
pub struct Servers {
    pub kafka: String,
    pub postgres: String,
    pub registry: String,
    /// Keeps deployments on the same Kafka apart.
    pub topic_prefix: String,
    pub partitions: u32,
}

impl Servers {
    /// The servers that this test process shares; `name` keeps what it makes there apart.
    pub async fn shared(name: &str, partitions: u32) -> Result<Self> {
        Ok(Servers {
            kafka: KafkaCluster::shared().await?.bootstrap(),
            postgres: Postgres::shared().await?.create_database(name).await?,
            registry: Registry::shared().await?.url().to_owned(),
            topic_prefix: format!("{name}."),
            partitions,
        })
    }
}

impl Deployment {
    /// `laneway all`, everything in `folder`.
    pub async fn embedded(binary: &Path, folder: &Path) -> Result<Self> {
        Self::embedded_with(binary, folder, &[]).await
    }

    pub async fn embedded_with(
        binary: &Path,
        folder: &Path,
        settings: Settings<'_>,
    ) -> Result<Self> {
        let settings = owned(settings);
        let (port, ops) = (ports::free()?, ports::free()?);
        let builder = base(binary, folder, "all", &settings)
            .env("LANEWAY_HTTP_LISTEN", format!("127.0.0.1:{port}"))
            .env("LANEWAY_OPS_LISTEN", format!("127.0.0.1:{ops}"));
        let node = Node::start(
            "all",
            builder,
            format!("http://127.0.0.1:{ops}/health/ready"),
        )
        .await?;
        let client = Client::new(format!("http://127.0.0.1:{port}"));
        Ok(Deployment {
            nodes: vec![node],
            ingest: client.clone(),
            control: client,
            stream: format!("ws://127.0.0.1:{port}/stream"),
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            settings,
            servers: None,
        })
    }

    /// One process of each role.
    pub async fn distributed(binary: &Path, folder: &Path, servers: &Servers) -> Result<Self> {
        Self::distributed_with(binary, folder, servers, &[]).await
    }

    pub async fn distributed_with(
        binary: &Path,
        folder: &Path,
        servers: &Servers,
        settings: Settings<'_>,
    ) -> Result<Self> {
        let nowhere = Client::new(String::new());
        let mut deployment = Deployment {
            nodes: Vec::new(),
            ingest: nowhere.clone(),
            control: nowhere,
            stream: String::new(),
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            settings: owned(settings),
            servers: Some(servers.clone()),
        };
        deployment.control = deployment.add("control", "control-1").await?;
        deployment.ingest = deployment.add("ingest", "ingest-1").await?;
        deployment.add("processor", "processor-1").await?;
        let sink = deployment.add("sink", "sink-1").await?;
        deployment.stream = format!("{}/stream", sink.base().replacen("http", "ws", 1));
        Ok(deployment)
    }

    /// Starts one more process of a role, where the roles are apart, and waits until it is ready.
    pub async fn add(&mut self, role: &'static str, instance: &str) -> Result<Client> {
        let servers = self.servers.as_ref().context("all roles are one process")?;
        let (port, ops) = (ports::free()?, ports::free()?);
        let listen = format!("LANEWAY_HTTP_{}_LISTEN", role.to_uppercase());
        let builder = base(&self.binary, &self.folder, role, &self.settings)
            .name(instance)
            .env(listen, format!("127.0.0.1:{port}"))
            .env("LANEWAY_OPS_LISTEN", format!("127.0.0.1:{ops}"))
            .env("LANEWAY_INSTANCE", instance)
            .env("LANEWAY_LOG_BACKEND", "kafka")
            .env("LANEWAY_LOG_KAFKA_BOOTSTRAP", &servers.kafka)
            .env("LANEWAY_LOG_KAFKA_REPLICATION_FACTOR", "1")
            .env("LANEWAY_LOG_KAFKA_MIN_INSYNC_REPLICAS", "1")
            .env("LANEWAY_LOG_TOPIC_PREFIX", &servers.topic_prefix)
            .env("LANEWAY_LOG_PARTITIONS", servers.partitions.to_string())
            .env("LANEWAY_LOG_SESSION_TIMEOUT_MS", "3000")
            .env("LANEWAY_STORE_URL", &servers.postgres)
            .env("LANEWAY_STORE_SECRET_KEY", "5e".repeat(32))
            .env("LANEWAY_AUTH_HASH_KEY", "a7".repeat(32))
            .env("LANEWAY_REGISTRY_URL", &servers.registry);
        let health = format!("http://127.0.0.1:{ops}/health/ready");
        self.nodes.push(Node::start(role, builder, health).await?);
        Ok(Client::new(format!("http://127.0.0.1:{port}")))
    }

    /// `host:port` of the stream.
    pub fn stream_address(&self) -> Result<String> {
        let rest = self.stream.trim_start_matches("ws://");
        let address = rest.split('/').next().unwrap_or_default();
        ensure!(!address.is_empty(), "no address in {}", self.stream);
        Ok(address.to_owned())
    }

    /// The first node of a role.
    pub fn node(&mut self, role: &str) -> Result<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|n| n.role == role)
            .with_context(|| format!("no {role} in this deployment"))
    }

    /// Runs `laneway admin …` over the local socket and reads its JSON.
    pub async fn admin(&self, args: &[&str]) -> Result<Value> {
        let output = self
            .command(&[&["admin"], args, &["--json"]].concat())
            .await?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(
            output.status.success(),
            "laneway admin {}: {err}{out}",
            args.join(" ")
        );
        serde_json::from_str(&out)
            .with_context(|| format!("laneway admin {} printed {out}", args.join(" ")))
    }

    /// Runs `laneway …` in the deployment's folder.
    pub fn command(&self, args: &[&str]) -> impl Future<Output = Result<Output>> + Send + use<> {
        let mut command = tokio::process::Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"LANEWAY_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(&self.folder)
            .env("LANEWAY_DATA_DIR", self.folder.join("data"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        async move { command.output().await.context("running laneway") }
    }

    /// SIGTERM for all, and waits for their drains.
    pub async fn stop(mut self) -> Result<()> {
        for node in self.nodes.iter_mut().rev() {
            let status = node.process.stop().await?;
            ensure!(status.success(), "{} ended with {status}", node.role);
        }
        Ok(())
    }
}

fn owned(settings: Settings<'_>) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, String)| ((*key).to_owned(), value.clone());
    settings.iter().map(owned).collect()
}

fn base(
    binary: &Path,
    folder: &Path,
    role: &'static str,
    settings: &[(String, String)],
) -> Builder {
    let builder = LanewayProcess::builder(binary.to_owned())
        .args([role])
        .name(role)
        .dir(folder)
        .env("LANEWAY_DATA_DIR", folder.join("data"))
        .env("LANEWAY_LOG_EMBEDDED_MIN_FREE_BYTES", "1048576")
        // The last minute of a device that has fallen silent is closed soon.
        .env("LANEWAY_PROCESSOR_IDLE_CLOSE_SECONDS", "3")
        // The tests' receivers are on this machine.
        .env("LANEWAY_CONTROL_ALLOW_PLAIN_HTTP", "true")
        .env("LANEWAY_SINK_WEBHOOK_ALLOW_HTTP", "true")
        .env("LANEWAY_SINK_WEBHOOK_ALLOW_PRIVATE_NETWORKS", "127.0.0.0/8");
    settings
        .iter()
        .fold(builder, |builder, (key, value)| builder.env(key, value))
}
