//! A broker that is reached through a proxy, which holds its answers back or closes connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use laneway_log::{Log, LogConfig};
use laneway_testkit::{FaultProxy, KafkaCluster, KafkaOptions};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard};

use crate::conformance::base_config;

/// Kafka's numbers of the requests that make a transaction.
/// Source: <https://kafka.apache.org/protocol#protocol_api_keys>
pub const PRODUCE: i16 = 0;
pub const FIND_COORDINATOR: i16 = 10;
pub const ADD_PARTITIONS: i16 = 24;
pub const ADD_OFFSETS: i16 = 25;
pub const END_TXN: i16 = 26;
pub const TXN_OFFSET_COMMIT: i16 = 28;

/// Topics under a prefix of their own, on the one broker of all cases. Its proxy is theirs alone
/// until this is dropped.
pub struct Proxied {
    prefix: String,
    cluster: &'static KafkaCluster,
    _alone: MutexGuard<'static, ()>,
}

impl Proxied {
    /// Waits until it is nobody else's: what bounds a case begins after that.
    pub async fn fresh(case: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        static CASES: AtomicUsize = AtomicUsize::new(0);
        let alone = ALONE.lock().await;
        let cluster = cluster().await;
        let place = Proxied {
            prefix: format!("{case}-{}-", CASES.fetch_add(1, Ordering::Relaxed)),
            cluster,
            _alone: alone,
        };
        // A case that failed may have left it as it was.
        place.restore().await;
        place
    }

    /// Of clients that come through the proxy.
    pub fn config(&self) -> LogConfig {
        let mut config = base_config(laneway_log::Backend::Kafka);
        config.topic_prefix.clone_from(&self.prefix);
        config.kafka.bootstrap = self.cluster.bootstrap();
        // Nothing is over sooner than a case wants it.
        config.session_timeout_ms = 30_000;
        config.kafka.transaction_timeout_ms = 30_000;
        config
    }

    pub async fn open_with(&self, change: impl FnOnce(&mut LogConfig)) -> Arc<dyn Log> {
        let mut config = self.config();
        change(&mut config);
        laneway_log::open(&config).await.expect("opening the log")
    }

    /// Past the proxy.
    pub fn bootstrap_inside(&self) -> String {
        self.cluster.bootstrap_inside()
    }

    /// The same topics, past the proxy.
    pub async fn open_inside(&self) -> Arc<dyn Log> {
        let inside = self.bootstrap_inside();
        self.open_with(|config| config.kafka.bootstrap = inside)
            .await
    }

    pub fn proxy(&self) -> &FaultProxy {
        self.cluster.proxy(0).expect("a proxy")
    }

    pub async fn cut(&self) {
        self.proxy().cut().await.expect("cutting connections");
    }

    pub async fn restore(&self) {
        self.proxy().restore().await.expect("restoring the proxy");
    }
}

/// On a runtime that outlives the cases': the proxy's connections are that runtime's.
async fn cluster() -> &'static KafkaCluster {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    });
    static CLUSTER: tokio::sync::OnceCell<KafkaCluster> = tokio::sync::OnceCell::const_new();
    let start = || async {
        let options = KafkaOptions {
            proxied: true,
            settings: vec![(
                "log.retention.check.interval.ms".to_owned(),
                "3600000".to_owned(),
            )],
            ..KafkaOptions::default()
        };
        RUNTIME
            .spawn(KafkaCluster::start(options))
            .await
            .expect("starting Kafka")
            .expect("starting Kafka")
    };
    CLUSTER.get_or_init(start).await
}

/// The kinds of the requests that begin in what a client has sent at once: each begins with its
/// length and its kind.
pub fn requests(mut sent: &[u8]) -> Vec<i16> {
    let mut kinds = Vec::new();
    while let [a, b, c, d, e, f, ..] = *sent {
        kinds.push(i16::from_be_bytes([e, f]));
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        sent = sent.get(4 + length..).unwrap_or_default();
    }
    kinds
}

/// What picks the next commit or abort of a transaction.
pub fn next_end_of_transaction(sent: &[u8]) -> bool {
    requests(sent).contains(&END_TXN)
}
