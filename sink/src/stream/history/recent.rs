//! The chunks that were made last, bounded by bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::HashMap;

use super::Lane;
use crate::event::{Chunk, TypeSet};

/// One lane of a tenant may hold so much of it.
const SHARE: usize = 4;

#[derive(Default)]
struct Ring {
    /// By the first offset.
    chunks: BTreeMap<u64, Arc<Chunk>>,
    bytes: usize,
}

pub struct Recent {
    limit: usize,
    bytes: usize,
    count: usize,
    rings: HashMap<Lane, Ring>,
    /// As they came.
    order: VecDeque<(Lane, u64)>,
}

impl Recent {
    pub fn new(limit: usize) -> Self {
        Recent {
            limit,
            bytes: 0,
            count: 0,
            rings: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    /// A chunk that speaks for the offset and has all of these types.
    pub fn get(&self, lane: &Lane, at: u64, types: TypeSet) -> Option<Arc<Chunk>> {
        let ring = self.rings.get(lane)?;
        let (_, chunk) = ring.chunks.range(..=at).next_back()?;
        (at < chunk.next && chunk.complete.includes(types)).then(|| Arc::clone(chunk))
    }

    /// Keeps a chunk that is of use to others.
    pub fn put(&mut self, lane: Lane, chunk: &Arc<Chunk>) {
        let weight = chunk.weight();
        if chunk.complete == TypeSet::default() || weight > self.limit / SHARE {
            return;
        }
        self.remove(&lane, chunk.from);
        let ring = self.rings.entry(lane).or_default();
        ring.chunks.insert(chunk.from, Arc::clone(chunk));
        ring.bytes += weight;
        self.bytes += weight;
        self.count += 1;
        self.order.push_back((lane, chunk.from));
        while let Some(ring) = self.rings.get(&lane)
            && ring.bytes > self.limit / SHARE
            && let Some(first) = ring.chunks.keys().next().copied()
        {
            self.remove(&lane, first);
        }
        while self.bytes > self.limit
            && let Some((lane, from)) = self.order.pop_front()
        {
            self.remove(&lane, from);
        }
        // What was removed out of turn is still in the order.
        if self.order.len() > 64 && self.order.len() > 4 * self.count {
            let rings = &self.rings;
            self.order.retain(|(lane, from)| {
                rings.get(lane).is_some_and(|r| r.chunks.contains_key(from))
            });
        }
    }

    fn remove(&mut self, lane: &Lane, from: u64) {
        let Some(ring) = self.rings.get_mut(lane) else {
            return;
        };
        if let Some(chunk) = ring.chunks.remove(&from) {
            ring.bytes -= chunk.weight();
            self.bytes -= chunk.weight();
            self.count -= 1;
        }
        if ring.chunks.is_empty() {
            self.rings.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use laneway_schemas::EventType;
    use laneway_tenancy::TenantId;

    use super::*;
    use crate::event::{ChunkBuilder, TenantKey};

    fn lane(tenant: u128) -> Lane {
        Lane {
            tenant: TenantKey::of(TenantId::from_u128(tenant)),
            generation: 1,
            lane: 0,
        }
    }

    fn chunk(from: u64, next: u64, complete: TypeSet) -> Arc<Chunk> {
        Arc::new(ChunkBuilder::new(1, 0, from, complete).build(next))
    }

    #[test]
    fn a_chunk_is_found_by_those_for_whom_it_is_whole() {
        let positions = TypeSet::default().with(EventType::Position);
        let mut recent = Recent::new(1 << 20);
        recent.put(lane(1), &chunk(10, 20, positions));
        recent.put(lane(1), &chunk(20, 30, TypeSet::ALL));
        recent.put(lane(1), &chunk(40, 50, TypeSet::default()));
        let from = |at, types| recent.get(&lane(1), at, types).map(|c| c.from);
        assert_eq!(from(9, positions), None);
        assert_eq!(from(19, positions), Some(10));
        assert_eq!(from(19, TypeSet::ALL), None, "windows may be missing");
        assert_eq!(from(20, TypeSet::ALL), Some(20));
        assert_eq!(from(30, positions), None);
        assert_eq!(from(40, TypeSet::default()), None, "made for a few devices");
        assert!(recent.get(&lane(2), 19, positions).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_for_all_and_for_each() {
        let weight = chunk(0, 1, TypeSet::ALL).weight();
        let mut recent = Recent::new(weight * 40);
        for from in 0..100 {
            recent.put(lane(1), &chunk(from, from + 1, TypeSet::ALL));
        }
        assert_eq!(recent.bytes, weight * 10, "a quarter is one lane's");
        assert!(recent.get(&lane(1), 89, TypeSet::ALL).is_none());
        assert!(recent.get(&lane(1), 90, TypeSet::ALL).is_some());
        for tenant in 2..100 {
            recent.put(lane(tenant), &chunk(0, 1, TypeSet::ALL));
        }
        assert_eq!((recent.bytes, recent.count), (weight * 40, 40));
        assert!(recent.get(&lane(1), 99, TypeSet::ALL).is_none());
        assert!(recent.get(&lane(99), 0, TypeSet::ALL).is_some());
        assert!(recent.order.len() <= 4 * 40 + 1, "{}", recent.order.len());
    }
}
