//! Records to counts.

use foldhash::{HashMap, HashSet};
use laneway_log::{RecordRef, Topic};
use laneway_schemas::headers::{DELIVERED, REDRIVEN};
use laneway_schemas::{Codecs, DecodeError, RegistryError, SinkCursor};
use laneway_store::{DeliveredTotal, DeviceDay, UsageBatch, UsageCount};
use laneway_tenancy::quota::day_of_ms;
use laneway_tenancy::{DestinationId, TenantId};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::event::{TenantKey, split_key};

/// Devices that are remembered to be counted, 16 bytes each: then it begins anew, which costs
/// questions to the database and nothing else.
const REMEMBERED: usize = 1 << 20;

/// Devices that the database has, or will have before anything else of this member.
#[derive(Default)]
pub struct Seen(HashSet<u128>);

impl Seen {
    /// Whether it is the first time.
    fn first(&mut self, key: &[u8], day: i64) -> bool {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(xxh3_128_with_seed(key, day.cast_unsigned()))
    }

    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// What was read of a partition of a topic, and is not written yet.
pub struct Open {
    pub batch: UsageBatch,
    counts: HashMap<(TenantKey, i64), (i64, i64)>,
    /// Records that make a difference.
    pub records: usize,
}

impl Open {
    /// Begins where the store is.
    pub fn at(generation: u32, topic: Topic, partition: u32, from: u64, to: u64) -> Self {
        Open {
            batch: UsageBatch {
                generation,
                topic: topic.name(),
                partition,
                from_offset: from,
                to_offset: to,
                ..UsageBatch::default()
            },
            counts: HashMap::default(),
            records: 0,
        }
    }

    pub fn has_come_on(&self) -> bool {
        self.batch.to_offset > self.batch.from_offset
    }

    /// The batch, with its counts.
    pub fn batch(&mut self) -> &UsageBatch {
        let counts = self.counts.iter();
        self.batch.counts = counts
            .filter_map(|((tenant, day), (events, bytes))| {
                Some(UsageCount {
                    tenant: tenant.tenant()?,
                    day: *day,
                    events: *events,
                    bytes: *bytes,
                })
            })
            .collect();
        &self.batch
    }

    /// An accepted event. Its timestamp is when it was received.
    pub fn accepted(&mut self, record: &RecordRef<'_>, seen: &mut Seen) {
        // It was counted when it was accepted.
        if record.headers.get(REDRIVEN).is_some() {
            return;
        }
        let (Some((tenant, device)), Some(value)) = (split_key(record.key), record.value) else {
            return;
        };
        let day = day_of_ms(record.timestamp_ms);
        let (events, bytes) = self.counts.entry((tenant, day)).or_default();
        *events += 1;
        *bytes += i64::try_from(record.key.len() + value.len()).unwrap_or(i64::MAX);
        self.records += 1;
        if seen.first(record.key, day)
            && let (Some(tenant), Ok(device)) = (tenant.tenant(), device.parse())
        {
            let seen = DeviceDay {
                tenant,
                day,
                device,
            };
            self.batch.devices.insert(seen);
        }
    }

    /// A cursor of a destination, or the deletion of one. What cannot be read is passed over,
    /// and said.
    pub async fn cursor(
        &mut self,
        codecs: &Codecs,
        record: &RecordRef<'_>,
    ) -> Result<(), RegistryError> {
        let Some((tenant, destination, lane)) = place(record.key) else {
            return Ok(());
        };
        let total = match record.value {
            None => {
                let said = record.headers.get_str(DELIVERED);
                let last = said.and_then(|said| said.parse().ok());
                self.delivered(record, (tenant, destination, lane), last);
                None
            }
            Some(value) => match codecs.decode_loading::<SinkCursor>(value).await {
                Ok(cursor) => Some(cursor.delivered),
                Err(DecodeError::Registry(error @ RegistryError::Unavailable { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    metrics::counter!("laneway_sink_undecodable_total").increment(1);
                    tracing::error!(offset = record.offset, %destination, %error, "a cursor cannot be metered; it is passed over");
                    return Ok(());
                }
            },
        };
        self.delivered(record, (tenant, destination, lane), total);
        Ok(())
    }

    fn delivered(
        &mut self,
        record: &RecordRef<'_>,
        (tenant, destination, lane): (TenantId, DestinationId, u32),
        total: Option<i64>,
    ) {
        self.batch.delivered.push(DeliveredTotal {
            tenant,
            destination,
            lane,
            day: day_of_ms(record.timestamp_ms),
            total,
        });
        self.records += 1;
    }
}

/// Of the key of a cursor, and of nothing else that `sink-cursors` has.
fn place(key: &[u8]) -> Option<(TenantId, DestinationId, u32)> {
    let mut parts = std::str::from_utf8(key).ok()?.split('/');
    let place = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use laneway_schemas::sink::{cursor_key, dead_letter_key};

    use super::*;

    #[test]
    fn only_cursors_have_a_place() {
        let (tenant, destination) = (TenantId::from_u128(1), DestinationId::from_u128(2));
        let cursor = cursor_key(tenant, destination, 7);
        assert_eq!(place(cursor.as_bytes()), Some((tenant, destination, 7)));
        let dead = dead_letter_key(tenant, destination, "7");
        assert_eq!(place(dead.as_bytes()), None);
        assert_eq!(place(b"ten_1/x/3"), None);
    }
}
