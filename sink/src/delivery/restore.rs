//! The cursors of a partition, as the log has them.

use foldhash::HashMap;
use laneway_log::{Log, LogError, Topic};
use laneway_schemas::{Codecs, SinkCursor};
use laneway_tenancy::DestinationId;

/// By destination. Dead letters are passed over.
pub async fn cursors(
    log: &dyn Log,
    codecs: &Codecs,
    partition: u32,
) -> Result<HashMap<DestinationId, SinkCursor>, LogError> {
    let mut cursors = HashMap::default();
    let bounds = log.bounds(Topic::SinkCursors, partition).await?;
    if bounds.earliest >= bounds.last_stable {
        return Ok(cursors);
    }
    let mut reader = log
        .reader(Topic::SinkCursors, vec![(partition, bounds.earliest)])
        .await?;
    loop {
        let batch = reader.next().await?;
        for record in batch.iter() {
            let Some(id) = destination(record.key) else {
                continue;
            };
            let Some(value) = record.value else {
                cursors.remove(&id);
                continue;
            };
            let cursor: SinkCursor =
                codecs
                    .decode_loading(value)
                    .await
                    .map_err(|e| LogError::Corrupt {
                        at: format!(
                            "{}[{partition}] offset {}",
                            Topic::SinkCursors,
                            record.offset
                        ),
                        reason: e.to_string(),
                    })?;
            cursors.insert(id, cursor);
        }
        if batch.next_offset() >= bounds.last_stable {
            return Ok(cursors);
        }
    }
}

/// The destination of a cursor's key, `tenant/destination/lane`.
fn destination(key: &[u8]) -> Option<DestinationId> {
    let key = std::str::from_utf8(key).ok()?;
    let mut parts = key.split('/');
    let (_, destination, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    destination.parse().ok()
}

#[cfg(test)]
mod tests {
    use laneway_tenancy::TenantId;

    use super::*;
    use crate::delivery::cursor::{cursor_key, dead_letter_key};

    #[test]
    fn a_dead_letter_is_never_taken_for_a_cursor() {
        let (tenant, id) = (TenantId::from_u128(1), DestinationId::from_u128(2));
        assert_eq!(destination(cursor_key(tenant, id, 3).as_bytes()), Some(id));
        assert_eq!(
            destination(dead_letter_key(tenant, id, "abc.1").as_bytes()),
            None
        );
    }
}
