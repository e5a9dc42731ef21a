//! The measurements themselves: Kafka, PostgreSQL and a registry are started, roles and floors run
//! in turn under the same load.

mod ingest;
mod processor;
mod side;

use std::time::Duration;

use anyhow::{Result, ensure};
use laneway_testkit::{KafkaCluster, KafkaOptions, Postgres, Registry, laneway_binary};
use laneway_tests::deployment::{Deployment, Servers};

/// What the parts share.
pub struct Bench {
    pub kafka: KafkaCluster,
    pub deployment: Deployment,
    pub folder: tempfile::TempDir,
    pub duration: Duration,
    pub repeat: usize,
}

pub async fn run(parts: &[String], duration: Duration, repeat: usize) -> Result<()> {
    ensure!(repeat > 0, "--repeat has to be at least 1");
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let folder = tempfile::tempdir()?;
    let kafka = KafkaCluster::start(KafkaOptions {
        own: true,
        ..KafkaOptions::default()
    })
    .await?;
    let servers = Servers {
        kafka: kafka.bootstrap(),
        postgres: Postgres::shared().await?.create_database("bench").await?,
        registry: Registry::shared().await?.url().to_owned(),
        topic_prefix: String::new(),
        partitions: 24,
    };
    let deployment = Deployment::distributed(&laneway_binary()?, folder.path(), &servers).await?;
    let mut bench = Bench {
        kafka,
        deployment,
        folder,
        duration,
        repeat,
    };
    if wanted("ingest") {
        ingest::run(&mut bench).await?;
    }
    if wanted("processor") {
        processor::run(&mut bench).await?;
    }
    Ok(())
}
