//! Who has joined, by partition and tenant, and the encoding of a batch for them.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use laneway_log::{Batch, RecordRef};
use laneway_schemas::{Codecs, RegistryError};

use crate::event::{CHUNK_BYTES, Chunk, ChunkBuilder, Facts, TenantKey, split_key};
use crate::stream::subscriber::{Offer, Subscriber};

const RETRY: Duration = Duration::from_millis(250);

/// A subscriber whose queue was full; everything below `at` was offered.
pub struct Full {
    pub subscriber: Arc<Subscriber>,
    pub at: u64,
}

type Tenants = HashMap<TenantKey, Vec<Arc<Subscriber>>>;

#[derive(Default)]
pub struct Index(HashMap<u32, Tenants>);

impl Index {
    /// Whether the partition is new.
    pub fn add(&mut self, partition: u32, subscriber: &Arc<Subscriber>) -> bool {
        let new = !self.0.contains_key(&partition);
        let joined = self
            .0
            .entry(partition)
            .or_default()
            .entry(subscriber.tenant)
            .or_default();
        if !joined.iter().any(|s| Arc::ptr_eq(s, subscriber)) {
            joined.push(Arc::clone(subscriber));
        }
        new
    }

    pub fn has(&self, partition: u32) -> bool {
        self.0.contains_key(&partition)
    }

    pub fn partitions(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.keys().copied()
    }

    /// Forgets who is gone, and names the partitions that nobody needs any more.
    pub fn sweep(&mut self) -> Vec<u32> {
        let mut unused = Vec::new();
        self.0.retain(|partition, tenants| {
            tenants.retain(|_, joined| {
                joined.retain(|s| s.is_attached());
                !joined.is_empty()
            });
            if tenants.is_empty() {
                unused.push(*partition);
            }
            !tenants.is_empty()
        });
        unused
    }

    /// Encodes what anyone wants of the batch from offset `from` on, and offers it.
    pub async fn dispatch(&mut self, batch: &Batch, from: u64, codecs: &Codecs) -> Vec<Full> {
        let mut full = Vec::new();
        let Some(tenants) = self.0.get_mut(&batch.partition()) else {
            return full;
        };
        let mut open: HashMap<TenantKey, ChunkBuilder> = HashMap::new();
        for record in batch.iter().filter(|r| r.offset >= from) {
            let Some(facts) = wanted(tenants, &record) else {
                continue;
            };
            let generation = generation(tenants, facts.tenant);
            let builder = open
                .entry(facts.tenant)
                .or_insert_with(|| ChunkBuilder::new(generation, batch.partition(), from));
            push(builder, codecs, &facts, &record).await;
            if builder.bytes() >= CHUNK_BYTES {
                let next = record.offset + 1;
                let sealed = std::mem::replace(
                    builder,
                    ChunkBuilder::new(generation, batch.partition(), next),
                );
                offer(tenants, facts.tenant, sealed.build(next), &mut full);
            }
        }
        for (tenant, builder) in open {
            if !builder.is_empty() {
                offer(
                    tenants,
                    tenant,
                    builder.build(batch.next_offset()),
                    &mut full,
                );
            }
        }
        full
    }
}

/// The facts of a record that somebody wants.
fn wanted<'r>(tenants: &Tenants, record: &RecordRef<'r>) -> Option<Facts<'r>> {
    let (tenant, _) = split_key(record.key)?;
    let joined = tenants.get(&tenant)?;
    let facts = Facts::of(record)?;
    joined
        .iter()
        .any(|s| s.filter.matches(&facts))
        .then_some(facts)
}

/// Of the placement that the tenant's subscribers were authenticated under: a change of it ends
/// their connections.
fn generation(tenants: &Tenants, tenant: TenantKey) -> u32 {
    tenants
        .get(&tenant)
        .and_then(|joined| joined.first())
        .map_or(0, |s| s.generation)
}

fn offer(tenants: &mut Tenants, tenant: TenantKey, chunk: Chunk, full: &mut Vec<Full>) {
    let Some(joined) = tenants.get_mut(&tenant) else {
        return;
    };
    let chunk = Arc::new(chunk);
    joined.retain(|subscriber| match subscriber.offer(&chunk) {
        Offer::Taken => true,
        Offer::Gone => false,
        Offer::Full => {
            full.push(Full {
                subscriber: Arc::clone(subscriber),
                at: chunk.from,
            });
            false
        }
    });
}

/// Encodes a record, loading its schema where that is new. A record that cannot be read is
/// passed over, and said: holding the tail back would take every other tenant's events with it.
pub async fn push(
    builder: &mut ChunkBuilder,
    codecs: &Codecs,
    facts: &Facts<'_>,
    record: &RecordRef<'_>,
) {
    loop {
        let Err(error) = builder.push(codecs, facts, record.offset, record.value) else {
            return;
        };
        if let Some(id) = error.missing_schema() {
            match codecs.load(id).await {
                Ok(()) => continue,
                Err(reason @ RegistryError::Unavailable { .. }) => {
                    tracing::warn!(schema = id, %reason, "a schema cannot be loaded; trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(_) => {}
            }
        }
        metrics::counter!("laneway_sink_undecodable_total").increment(1);
        tracing::error!(tenant = ?facts.tenant, offset = record.offset, id = facts.id, %error, "an event cannot be encoded; it is passed over");
        return;
    }
}
