//! Reads `tenant-events` from its beginning, for ever.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{Log, Topic};
use laneway_runtime::Lifecycle;
use laneway_schemas::{Codecs, TenantEvent};

use crate::Directory;

/// Fills the directory until the drain. Trouble with the log is retried: what has been read
/// stays true meanwhile.
pub async fn follow(
    directory: Arc<Directory>,
    log: Arc<dyn Log>,
    codecs: Arc<Codecs>,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let mut offset = 0;
    loop {
        tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            result = read(&directory, &log, &codecs, &mut offset) => {
                if let Err(error) = result {
                    tracing::warn!(error = format!("{error:#}"), "reading tenant-events failed; trying again");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }
}

async fn read(
    directory: &Directory,
    log: &Arc<dyn Log>,
    codecs: &Codecs,
    offset: &mut u64,
) -> anyhow::Result<()> {
    let topic = Topic::TenantEvents;
    let bounds = log.bounds(topic, 0).await?;
    *offset = (*offset).max(bounds.earliest);
    let mut reader = log.reader(topic, vec![(0, *offset)]).await?;
    loop {
        if *offset >= bounds.last_stable {
            if directory.has_gaps() && *offset >= log.bounds(topic, 0).await?.last_stable {
                directory.fill_gaps();
            }
            directory.set_caught_up();
        }
        let batch = reader.next().await?;
        for record in batch.iter() {
            let Some(value) = record.value else { continue };
            let event: TenantEvent = codecs.decode_loading(value).await?;
            if let Err(error) = directory.apply(&event) {
                tracing::error!(
                    offset = record.offset,
                    error,
                    "a tenant-events record cannot be applied"
                );
            }
        }
        *offset = batch.next_offset();
    }
}
