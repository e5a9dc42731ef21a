//! What partitions wait for, one thing each; other partitions go on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use laneway_directory::Directory;
use laneway_schemas::{Codecs, RegistryError};

use crate::health::Health;
use crate::partition::Wait;

/// A wait that lasts is said this often.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// Between attempts to reach the schema registry.
const RETRY_SCHEMA: Duration = Duration::from_millis(500);

/// A partition may look at its first record again.
pub struct Over {
    pub partition: u32,
    pub wait: Wait,
    /// The schema waited for does not exist.
    pub no_such_schema: bool,
}

/// Resolves when the wait is over.
pub fn wait(
    partition: u32,
    wait: Wait,
    directory: Arc<Directory>,
    codecs: Arc<Codecs>,
    health: Health,
) -> BoxFuture<'static, Over> {
    Box::pin(async move {
        let mut no_such_schema = false;
        match wait {
            Wait::Version { tenant, version } => {
                while tokio::time::timeout(WARN_EVERY, directory.wait_for(tenant, version))
                    .await
                    .is_err()
                {
                    let read = directory.version(tenant);
                    tracing::warn!(
                        partition, %tenant, version, read,
                        "waiting for a control version that a record was accepted under; \
                         see whether tenant-events is written and read"
                    );
                    health.waits(
                        partition,
                        format!("control version {version} of {tenant}, having read {read}"),
                    );
                }
            }
            Wait::Schema(id) => loop {
                match codecs.load(id).await {
                    Ok(()) => break,
                    Err(error @ RegistryError::Unavailable { .. }) => {
                        tracing::warn!(partition, schema = id, %error, "loading the schema of a record; trying again");
                        health.waits(partition, format!("schema {id}: {error}"));
                        tokio::time::sleep(RETRY_SCHEMA).await;
                    }
                    Err(_) => {
                        no_such_schema = true;
                        break;
                    }
                }
            },
        }
        health.goes_on(partition);
        Over {
            partition,
            wait,
            no_such_schema,
        }
    })
}
