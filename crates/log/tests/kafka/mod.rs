//! The conformance driver for Apache Kafka.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use laneway_log::LogConfig;
use laneway_testkit::{KafkaCluster, KafkaOptions};
use tokio::sync::Mutex;

use crate::conformance::{Backend, base_config};

/// Topics under a prefix of their own, on a cluster of `BROKERS`, over SASL_SSL if `TLS`.
pub struct Place<const BROKERS: usize, const TLS: bool> {
    prefix: String,
    bootstrap: String,
    access: Option<Access>,
    /// `None` in child processes.
    cluster: Option<Arc<KafkaCluster>>,
}

struct Access {
    ca_file: PathBuf,
    username: String,
    password: String,
}

/// Which cluster a case needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Keeps records, however old their timestamps say that they are.
    Keeping,
    /// Looks for what retention lets go once a second.
    Sweeping,
}

impl Kind {
    fn options<const BROKERS: usize, const TLS: bool>(self) -> KafkaOptions {
        let settings = match self {
            Kind::Keeping => vec![(
                "log.retention.check.interval.ms".to_owned(),
                "3600000".to_owned(),
            )],
            Kind::Sweeping => Vec::new(),
        };
        KafkaOptions {
            brokers: BROKERS,
            sasl_ssl: TLS,
            own: true,
            settings,
            ..KafkaOptions::default()
        }
    }
}

impl<const BROKERS: usize, const TLS: bool> Place<BROKERS, TLS> {
    /// One cluster of a kind for all cases of the process.
    async fn shared(kind: Kind) -> Arc<KafkaCluster> {
        static CLUSTERS: LazyLock<Mutex<HashMap<Kind, Arc<KafkaCluster>>>> =
            LazyLock::new(Mutex::default);
        let mut clusters = CLUSTERS.lock().await;
        if let Some(cluster) = clusters.get(&kind) {
            return cluster.clone();
        }
        let cluster = KafkaCluster::start(kind.options::<BROKERS, TLS>())
            .await
            .expect("starting Kafka");
        let cluster = Arc::new(cluster);
        clusters.insert(kind, cluster.clone());
        cluster
    }

    pub fn kill_broker(&self) {
        self.cluster().kill(0).expect("killing the broker");
    }

    pub async fn restart_broker(&self) {
        self.cluster()
            .restart(0)
            .await
            .expect("starting the broker again");
    }

    fn cluster(&self) -> &KafkaCluster {
        self.cluster
            .as_ref()
            .expect("only the parent has the cluster")
    }

    fn prefix(case: &str) -> String {
        static CASES: AtomicUsize = AtomicUsize::new(0);
        format!(
            "{case}-{}-{}-",
            std::process::id(),
            CASES.fetch_add(1, Ordering::Relaxed)
        )
    }
}

impl<const BROKERS: usize, const TLS: bool> Backend for Place<BROKERS, TLS> {
    const SHARED: bool = true;

    async fn fresh(case: &str) -> Self {
        let cluster = match case {
            // Its broker is killed.
            "killserver" => {
                let own = Kind::Keeping.options::<BROKERS, TLS>();
                Arc::new(KafkaCluster::start(own).await.expect("starting Kafka"))
            }
            "age" | "bytes" => Self::shared(Kind::Sweeping).await,
            _ => Self::shared(Kind::Keeping).await,
        };
        let prefix = Self::prefix(case);
        let access = cluster.ca_pem().map(|pem| {
            let ca_file = std::env::temp_dir().join(format!("{prefix}ca.pem"));
            std::fs::write(&ca_file, pem).expect("writing the certificate");
            Access {
                ca_file,
                username: cluster.username().expect("a user").to_owned(),
                password: cluster.password().expect("a password").to_owned(),
            }
        });
        Place {
            prefix,
            bootstrap: cluster.bootstrap(),
            access,
            cluster: Some(cluster),
        }
    }

    fn attach(address: &str) -> Self {
        let parts: Vec<&str> = address.split('|').collect();
        let access = match parts[2..] {
            [ca_file, username, password] => Some(Access {
                ca_file: ca_file.into(),
                username: username.to_owned(),
                password: password.to_owned(),
            }),
            _ => None,
        };
        Place {
            prefix: parts[0].to_owned(),
            bootstrap: parts[1].to_owned(),
            access,
            cluster: None,
        }
    }

    fn address(&self) -> String {
        let mut address = format!("{}|{}", self.prefix, self.bootstrap);
        if let Some(access) = &self.access {
            address += &format!(
                "|{}|{}|{}",
                access.ca_file.display(),
                access.username,
                access.password
            );
        }
        address
    }

    fn config(&self) -> LogConfig {
        let mut config = base_config(laneway_log::Backend::Kafka);
        config.topic_prefix.clone_from(&self.prefix);
        config.kafka.bootstrap.clone_from(&self.bootstrap);
        if BROKERS > 1 {
            config.kafka.replication_factor = 3;
            config.kafka.min_insync_replicas = 2;
        }
        if let Some(access) = &self.access {
            config.kafka.security = "sasl_ssl".to_owned();
            config.kafka.ca_file = access.ca_file.to_str().expect("a path in UTF-8").to_owned();
            config.kafka.sasl.mechanism = "SCRAM-SHA-512".to_owned();
            config.kafka.sasl.username.clone_from(&access.username);
            config.kafka.sasl.password.clone_from(&access.password);
        }
        config
    }

    fn kill_server(&self) -> BoxFuture<'_, bool> {
        async {
            self.kill_broker();
            self.restart_broker().await;
            true
        }
        .boxed()
    }
}

impl<const BROKERS: usize, const TLS: bool> Drop for Place<BROKERS, TLS> {
    fn drop(&mut self) {
        if let Some(access) = &self.access
            && self.cluster.is_some()
        {
            let _ = std::fs::remove_file(&access.ca_file);
        }
    }
}
