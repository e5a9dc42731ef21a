//! Who has joined, by partition and tenant, and the encoding of a batch for them.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use laneway_log::{Batch, RecordRef};
use tokio::task::yield_now;

use crate::event::{CHUNK_BYTES, Chunk, ChunkBuilder, Facts, TenantKey, TypeSet, split_key};
use crate::stream::history::History;
use crate::stream::subscriber::{Offer, Subscriber};

/// A subscriber whose queue was full; everything below `at` was offered.
pub struct Full {
    pub subscriber: Arc<Subscriber>,
    pub at: u64,
}

/// A tenant's subscribers in a partition.
#[derive(Default)]
struct Joined {
    subscribers: Vec<Arc<Subscriber>>,
    /// Up to here its chunks speak for everything of these types, so that the next one speaks
    /// for what lies between as well: nothing of them was there.
    spoken: Option<(u64, TypeSet)>,
}

impl Joined {
    fn add(&mut self, subscriber: &Arc<Subscriber>) {
        if self.subscribers.iter().any(|s| Arc::ptr_eq(s, subscriber)) {
            return;
        }
        // What it wants may have been passed over until now.
        if !self.complete().includes(subscriber.filter.complete()) {
            self.spoken = None;
        }
        self.subscribers.push(Arc::clone(subscriber));
    }

    /// Types that somebody wants of all devices.
    fn complete(&self) -> TypeSet {
        let all = self.subscribers.iter().map(|s| s.filter.complete());
        all.fold(TypeSet::default(), TypeSet::union)
    }

    /// Of the placement that the subscribers were authenticated under: a change of it ends their
    /// connections.
    fn generation(&self) -> u32 {
        self.subscribers.first().map_or(0, |s| s.generation)
    }

    /// For what comes from an offset on.
    fn builder(&self, lane: u32, from: u64) -> ChunkBuilder {
        let complete = self.complete();
        let from = match self.spoken {
            Some((spoken, types)) if types.includes(complete) => spoken,
            _ => from,
        };
        ChunkBuilder::new(self.generation(), lane, from, complete)
    }

    /// Says how many bytes were offered.
    fn offer(
        &mut self,
        tenant: TenantKey,
        chunk: Chunk,
        history: &History,
        full: &mut Vec<Full>,
    ) -> usize {
        self.spoken = Some((chunk.next, chunk.complete));
        let chunk = Arc::new(chunk);
        history.keep(tenant, self.generation(), &chunk);
        self.subscribers
            .retain(|subscriber| match subscriber.offer(&chunk) {
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
        chunk.weight()
    }
}

type Tenants = HashMap<TenantKey, Joined>;

#[derive(Default)]
pub struct Index {
    partitions: HashMap<u32, Tenants>,
    ahead: Ahead,
}

/// Bytes offered since those who were woken had their turn. They get one before a queue is full,
/// so that a burst makes nobody fall behind who could keep up.
#[derive(Default)]
struct Ahead(usize);

impl Ahead {
    async fn add(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= CHUNK_BYTES {
            self.0 = 0;
            yield_now().await;
        }
    }
}

impl Index {
    /// Whether the partition is new.
    pub fn add(&mut self, partition: u32, subscriber: &Arc<Subscriber>) -> bool {
        let new = !self.partitions.contains_key(&partition);
        let tenants = self.partitions.entry(partition).or_default();
        tenants
            .entry(subscriber.tenant)
            .or_default()
            .add(subscriber);
        new
    }

    pub fn has(&self, partition: u32) -> bool {
        self.partitions.contains_key(&partition)
    }

    pub fn partitions(&self) -> impl Iterator<Item = u32> + '_ {
        self.partitions.keys().copied()
    }

    /// Forgets who is gone, and names the partitions that nobody needs any more.
    pub fn sweep(&mut self) -> Vec<u32> {
        let mut unused = Vec::new();
        self.partitions.retain(|partition, tenants| {
            tenants.retain(|_, joined| {
                joined.subscribers.retain(|s| s.is_attached());
                !joined.subscribers.is_empty()
            });
            if tenants.is_empty() {
                unused.push(*partition);
            }
            !tenants.is_empty()
        });
        unused
    }

    /// Encodes what anyone wants of the batch from offset `from` on, and offers it.
    pub async fn dispatch(&mut self, batch: &Batch, from: u64, history: &History) -> Vec<Full> {
        let mut full = Vec::new();
        let Some(tenants) = self.partitions.get_mut(&batch.partition()) else {
            return full;
        };
        let mut open: HashMap<TenantKey, ChunkBuilder> = HashMap::new();
        for record in batch.iter().filter(|r| r.offset >= from) {
            let Some((facts, joined)) = wanted(tenants, &record) else {
                continue;
            };
            let lane = batch.partition();
            let builder = open
                .entry(facts.tenant)
                .or_insert_with(|| joined.builder(lane, from));
            builder.push_loading(&history.codecs, &facts, &record).await;
            if builder.bytes() >= CHUNK_BYTES {
                let next = record.offset + 1;
                if let Some(sealed) = open.remove(&facts.tenant) {
                    let chunk = sealed.build(next);
                    let offered = joined.offer(facts.tenant, chunk, history, &mut full);
                    self.ahead.add(offered).await;
                }
            }
        }
        for (tenant, builder) in open {
            if let Some(joined) = tenants.get_mut(&tenant) {
                let chunk = builder.build(batch.next_offset());
                let offered = joined.offer(tenant, chunk, history, &mut full);
                self.ahead.add(offered).await;
            }
        }
        full
    }
}

/// The facts of a record that somebody wants, and who may.
fn wanted<'r, 't>(
    tenants: &'t mut Tenants,
    record: &RecordRef<'r>,
) -> Option<(Facts<'r>, &'t mut Joined)> {
    let (tenant, _) = split_key(record.key)?;
    let joined = tenants.get_mut(&tenant)?;
    let facts = Facts::of(record)?;
    let anyone = joined.subscribers.iter().any(|s| s.filter.matches(&facts));
    anyone.then_some((facts, joined))
}
