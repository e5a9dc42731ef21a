//! `server.properties` of a test broker, and what goes with it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::certificates;

/// The loopback ports of one node.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Where clients come in.
    pub clients: u16,
    /// What they are told of that: the same, or a proxy's.
    pub advertised: u16,
    /// Between brokers and for this crate's own questions, always plain text.
    pub brokers: u16,
    pub controllers: u16,
}

/// What clients need to come in over SASL_SSL, and what brokers need to let them.
#[derive(Debug)]
pub struct Security {
    pub ca_pem: String,
    pub username: String,
    pub password: String,
    broker_pem: String,
}

impl Security {
    pub fn generate() -> Result<Self> {
        let certificates = certificates::generate()?;
        Ok(Self {
            ca_pem: certificates.ca_pem,
            username: "laneway".to_owned(),
            password: "a password for tests only".to_owned(),
            broker_pem: certificates.server_pem,
        })
    }

    /// The user as `StorageTool format --add-scram` takes it.
    pub fn scram(&self) -> String {
        format!(
            "SCRAM-SHA-512=[name={},password={}]",
            self.username, self.password
        )
    }
}

pub fn file(folder: &Path) -> PathBuf {
    folder.join("server.properties")
}

/// A Kafka UUID (22 characters of URL-safe base64, four bits of the last one zero) made of `number`.
fn uuid(number: u64) -> String {
    format!("{number:0>21}A")
}

/// The same for all nodes of a cluster, and no other living cluster's.
pub fn cluster_id(all: &[Ports]) -> String {
    uuid(all.first().map_or(0, |ports| ports.controllers.into()))
}

/// `ID@HOST:PORT:DIRECTORY` of each node, for `StorageTool format --initial-controllers`.
pub fn initial_controllers(all: &[Ports]) -> String {
    let controllers = (1_u64..)
        .zip(all)
        .map(|(id, ports)| format!("{id}@127.0.0.1:{}:{}", ports.controllers, uuid(id)));
    controllers.collect::<Vec<_>>().join(",")
}

/// Writes the settings of node `id` (from 1) of `all` into `folder`; `more` go last and win.
pub fn write(
    folder: &Path,
    id: usize,
    all: &[Ports],
    security: Option<&Security>,
    more: &[(String, String)],
) -> Result<()> {
    let own = all
        .get(id - 1)
        .with_context(|| format!("Kafka node {id} has no ports"))?;
    let replicas = all.len();
    let in_sync = replicas.div_ceil(2);
    let protocol = if security.is_some() {
        "SASL_SSL"
    } else {
        "PLAINTEXT"
    };
    let controllers: Vec<String> = all
        .iter()
        .map(|ports| format!("127.0.0.1:{}", ports.controllers))
        .collect();
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.bootstrap.servers={controllers}
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKERS
listeners=CLIENTS://127.0.0.1:{clients},BROKERS://127.0.0.1:{brokers},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENTS://127.0.0.1:{advertised},BROKERS://127.0.0.1:{brokers}
listener.security.protocol.map=CLIENTS:{protocol},BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
{FIXED}",
        controllers = controllers.join(","),
        clients = own.clients,
        advertised = own.advertised,
        brokers = own.brokers,
        controller = own.controllers,
        data = folder.join("data").display(),
    );
    if let Some(security) = security {
        let keystore = folder.join("broker.pem");
        std::fs::write(&keystore, &security.broker_pem)
            .with_context(|| format!("writing the broker's certificate {}", keystore.display()))?;
        write!(
            text,
            "listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.clients.ssl.keystore.type=PEM
listener.name.clients.ssl.keystore.location={}
",
            keystore.display()
        )?;
    }
    for (key, value) in more {
        writeln!(text, "{key}={value}")?;
    }
    let file = file(folder);
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}

/// Small internal topics, quick failure detection, quick sweeps. Members of the classic protocol
/// may ask for sessions from 1 s; those of the new one are noticed dead after 3 s.
const FIXED: &str = "auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.min.session.timeout.ms=3000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=500
log.cleaner.min.cleanable.ratio=0.01
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=1000
num.network.threads=2
num.io.threads=4
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kafka_uuid_has_22_characters_and_differs_by_number() {
        assert_eq!(uuid(7).len(), 22);
        assert_eq!(uuid(u64::from(u32::MAX)).len(), 22);
        assert_ne!(uuid(7), uuid(8));
    }

    #[test]
    fn settings_of_a_test_come_last_so_that_they_win() {
        let folder = tempfile::tempdir().unwrap();
        let ports = [Ports {
            clients: 1,
            advertised: 1,
            brokers: 2,
            controllers: 3,
        }];
        let more = [("min.insync.replicas".to_owned(), "9".to_owned())];
        write(folder.path(), 1, &ports, None, &more).unwrap();
        let text = std::fs::read_to_string(file(folder.path())).unwrap();
        let last = text
            .lines()
            .rfind(|line| line.starts_with("min.insync.replicas="))
            .unwrap();
        assert_eq!(last, "min.insync.replicas=9");
    }
}
