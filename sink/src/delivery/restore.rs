//! What the log has of the destinations in a partition: cursors and dead letters.

use foldhash::HashMap;
use laneway_log::{Log, LogError, RecordRef, Topic};
use laneway_schemas::sink::DeadLetter;
use laneway_schemas::{Codecs, SinkCursor};
use laneway_tenancy::DestinationId;

use super::letters::Letters;

#[derive(Default)]
pub struct Restored {
    pub cursors: HashMap<DestinationId, SinkCursor>,
    pub letters: HashMap<DestinationId, Letters>,
}

/// Reads to the very end: the last owner's last commit is there, and nothing comes after it.
pub async fn restore(log: &dyn Log, codecs: &Codecs, partition: u32) -> Result<Restored, LogError> {
    let bounds = log.bounds(Topic::SinkCursors, partition).await?;
    let mut latest: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::default();
    let mut next = bounds.earliest;
    if next < bounds.end {
        let mut reader = log
            .reader(Topic::SinkCursors, vec![(partition, next)])
            .await?;
        while next < bounds.end {
            let batch = reader.next().await?;
            for record in batch.iter() {
                keep_latest(&mut latest, &record);
            }
            next = next.max(batch.next_offset());
        }
    }
    let mut restored = Restored::default();
    for (key, value) in &latest {
        let Some(id) = destination(key) else { continue };
        let corrupt = |reason: String| LogError::Corrupt {
            at: format!(
                "{}[{partition}] key {}",
                Topic::SinkCursors,
                String::from_utf8_lossy(key)
            ),
            reason,
        };
        let record: SinkCursor = codecs
            .decode_loading(value)
            .await
            .map_err(|e| corrupt(e.to_string()))?;
        let Some(dead) = &record.dead else {
            restored.cursors.insert(id, record);
            continue;
        };
        let letter: DeadLetter = serde_json::from_str(dead).map_err(|e| corrupt(e.to_string()))?;
        let offset = u64::try_from(record.offset).unwrap_or(0);
        let letters = restored.letters.entry(id).or_default();
        letters.park(offset, &letter.event_id, letter.parked_at);
    }
    Ok(restored)
}

fn keep_latest(latest: &mut HashMap<Box<[u8]>, Box<[u8]>>, record: &RecordRef<'_>) {
    match record.value {
        Some(value) => match latest.get_mut(record.key) {
            Some(known) if known.len() == value.len() => known.copy_from_slice(value),
            Some(known) => *known = value.into(),
            None => {
                latest.insert(record.key.into(), value.into());
            }
        },
        None => {
            latest.remove(record.key);
        }
    }
}

/// The second part of a key, after the tenant.
fn destination(key: &[u8]) -> Option<DestinationId> {
    let mut parts = std::str::from_utf8(key).ok()?.split('/');
    parts.nth(1)?.parse().ok()
}
