//! The log seam: what a role needs of a partitioned, durable log, and nothing else.
//!
//! Two backends stand behind it, Apache Kafka ([`kafka`]) and an embedded log on
//! `redb` ([`embedded`]); one conformance suite (`tests/`) says the same of both.
//!
//! Words: a *record* is appended to a *partition* of a [`Topic`] and gets an *offset*
//! there. A *member* of a group owns partitions and commits [`Unit`]s of work: records to
//! append plus the input offsets they came from, all or nothing. A *reader* follows
//! partitions from given offsets without a group. Readers and members see only what is
//! committed (`read_committed`).

mod batch;
mod config;
pub mod embedded;
mod error;
mod follower;
pub mod groups;
pub mod kafka;
mod seam;
mod sets;
mod topic;

pub use batch::{Batch, BatchBuilder, Headers, OutgoingRef, RecordRef, Records};
pub use config::{Backend, EmbeddedConfig, KafkaConfig, LogConfig, SaslConfig, TopicSetup};
pub use error::LogError;
pub use follower::Follower;
pub use seam::{
    Bounds, Committer, Epoch, GroupSpec, GroupStart, Lag, Log, Member, MemberEvent, Reader,
    RevokeDone, Unit, group_lag,
};
pub use sets::TopicSets;
pub use topic::Topic;

/// Opens the configured backend: creates or verifies its topics.
pub async fn open(config: &LogConfig) -> Result<std::sync::Arc<dyn Log>> {
    match config.backend {
        Backend::Embedded => {
            let config = config.clone();
            // Opening reads the disk, for seconds after a kill.
            let opened =
                tokio::task::spawn_blocking(move || embedded::EmbeddedLog::open(&config)).await;
            let log = opened
                .map_err(|e| LogError::Fatal(format!("opening the embedded log died: {e}")))??;
            Ok(std::sync::Arc::new(log))
        }
        Backend::Kafka => Ok(std::sync::Arc::new(kafka::KafkaLog::open(config).await?)),
    }
}

pub type Result<T, E = LogError> = std::result::Result<T, E>;
