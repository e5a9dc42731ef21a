//! The measurements themselves: Kafka, PostgreSQL and a registry are started, roles and floors run
//! in turn under the same load.

mod embedded;
mod ingest;
mod latency;
mod processor;
mod side;
mod tenants;
mod webhook;
mod websocket;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{KafkaCluster, KafkaOptions, Postgres, Registry, laneway_binary};
use laneway_tests::client::Client;
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::tenant::device_token;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;

use crate::load::events::Target;

const PARTITIONS: u32 = 24;
pub const PARTS: [&str; 7] = [
    "ingest",
    "processor",
    "websocket",
    "webhook",
    "latency",
    "tenants",
    "embedded",
];

/// What the parts share.
pub struct Bench {
    pub kafka: KafkaCluster,
    pub registry: String,
    pub deployment: Deployment,
    pub partitions: u32,
    pub folder: tempfile::TempDir,
    pub duration: Duration,
    pub repeat: usize,
}

pub async fn run(parts: &[String], duration: Duration, repeat: usize) -> Result<()> {
    ensure!(repeat > 0, "--repeat has to be at least 1");
    for part in parts {
        ensure!(
            PARTS.contains(&part.as_str()),
            "there is no part {part}: {PARTS:?}"
        );
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    if wanted("embedded") {
        embedded::run(duration, repeat).await?;
    }
    // Each on servers that know nothing of the others.
    for part in PARTS.into_iter().filter(|p| *p != "embedded" && wanted(p)) {
        let mut bench = Bench::start(part, duration, repeat).await?;
        match part {
            "ingest" => ingest::run(&mut bench).await?,
            "processor" => processor::run(&mut bench).await?,
            "websocket" => websocket::run(&mut bench).await?,
            "webhook" => webhook::run(&mut bench).await?,
            "tenants" => tenants::run(&mut bench).await?,
            _ => latency::run(&mut bench).await?,
        }
    }
    Ok(())
}

/// Registers devices and gives `device token` lines, as the loads read them.
async fn tokens(
    control: &Client,
    admin: &str,
    devices: impl IntoIterator<Item = String>,
) -> Result<String> {
    let mut lines = String::new();
    for device in devices {
        let body = json!({ "id": device });
        control.post("/devices", admin, &body).await?.ok()?;
        let token = device_token(control, admin, &device).await?;
        lines.push_str(&format!("{device} {token}\n"));
    }
    Ok(lines)
}

impl Bench {
    async fn start(part: &str, duration: Duration, repeat: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kafka = KafkaCluster::start(KafkaOptions {
            own: true,
            ..KafkaOptions::default()
        })
        .await?;
        let database = format!("bench_{part}");
        let servers = Servers {
            kafka: kafka.bootstrap(),
            postgres: Postgres::shared().await?.create_database(&database).await?,
            registry: Registry::shared().await?.url().to_owned(),
            topic_prefix: String::new(),
            partitions: PARTITIONS,
        };
        // A sink does what its floor does, and nothing beside it.
        let off = |setting: &'static str| (setting, "false".to_owned());
        let settings = match part {
            "websocket" => vec![
                off("LANEWAY_SINK_DELIVERY_ENABLED"),
                off("LANEWAY_SINK_PROJECTION_ENABLED"),
                off("LANEWAY_SINK_METERING_ENABLED"),
            ],
            "webhook" => vec![
                off("LANEWAY_SINK_PROJECTION_ENABLED"),
                off("LANEWAY_SINK_METERING_ENABLED"),
            ],
            _ => Vec::new(),
        };
        let deployment =
            Deployment::distributed_with(&laneway_binary()?, folder.path(), &servers, &settings)
                .await?;
        Ok(Bench {
            kafka,
            registry: servers.registry,
            deployment,
            partitions: PARTITIONS,
            folder,
            duration,
            repeat,
        })
    }

    /// A new tenant, as a load sees it.
    pub async fn tenant(&self, slug: &str, devices: usize) -> Result<Target> {
        let tenant = self.deployment.admin(&["tenant", "create", slug]).await?;
        let id = tenant["id"].as_str().context("a tenant without an id")?;
        let lanes = tenant["lanes"]
            .as_array()
            .context("a tenant without lanes")?
            .iter()
            .filter_map(|lane| u32::try_from(lane.as_u64()?).ok());
        Ok(Target {
            tenant: id.to_owned(),
            lanes: lanes.collect(),
            devices,
        })
    }

    /// Only what is measured runs.
    pub fn stop(&mut self, roles: &[&str]) -> Result<()> {
        roles
            .iter()
            .try_for_each(|role| self.deployment.node(role)?.kill())
    }

    pub async fn start_again(&mut self, roles: &[&str]) -> Result<()> {
        for role in roles {
            let node = self.deployment.node(role)?;
            node.restart()?;
            node.ready().await?;
        }
        Ok(())
    }

    /// A topic of a floor's own.
    pub async fn create_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap())
            .create()?;
        let topic = NewTopic::new(
            name,
            i32::try_from(self.partitions)?,
            TopicReplication::Fixed(1),
        );
        for created in admin.create_topics([&topic], &AdminOptions::new()).await? {
            created.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
        }
        Ok(())
    }
}
