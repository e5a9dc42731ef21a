//! Placement: the partitions a tenant may use (its lanes), and the lane of a device.
//!
//! Rendezvous hashing with XXH3, stored nowhere and computed alike everywhere: the golden
//! tests below fix it. Changing any of it moves devices between lanes and needs a new
//! generation.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::TenantId;

/// Where a tenant's records are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Placement {
    /// Counts the placements a tenant has had; part of every position.
    pub generation: u32,
    /// Lanes of a topic set when they were chosen.
    pub partitions: u32,
    /// The tenant's lanes, ascending: all of one set. They are numbered over all sets.
    pub lanes: Vec<u32>,
}

impl Placement {
    /// The first placement of a new tenant: `lanes` of `partitions`, at least one, in the topic set
    /// that most tenants share.
    pub fn first(tenant: TenantId, lanes: u32, partitions: u32) -> Self {
        Placement {
            generation: 1,
            partitions,
            lanes: lanes_of(tenant, lanes, partitions),
        }
    }

    /// The like in another topic set.
    pub fn in_set(self, set: u32) -> Self {
        let moved = |lane: &u32| set * self.partitions + lane % self.partitions.max(1);
        Placement {
            lanes: self.lanes.iter().map(moved).collect(),
            ..self
        }
    }

    /// Its topic set; 0 is the shared one.
    pub fn set(&self) -> u32 {
        let first = self.lanes.first();
        first.map_or(0, |lane| lane / self.partitions.max(1))
    }

    /// The lane of a device: always the same one within a generation.
    pub fn lane(&self, device: &str) -> u32 {
        let hash = u128::from(xxh3_64(device.as_bytes()));
        // Lemire's multiply-shift: an even share without a division.
        let index = ((hash * self.lanes.len() as u128) >> 64) as usize;
        self.lanes[index]
    }

    pub fn allows(&self, partition: u32) -> bool {
        self.lanes.binary_search(&partition).is_ok()
    }
}

/// The partitions of a tenant: the `lanes` highest scores of rendezvous hashing, ascending.
/// Raising `lanes` keeps those it has; adding partitions moves only what wins there.
pub fn lanes_of(tenant: TenantId, lanes: u32, partitions: u32) -> Vec<u32> {
    let key = tenant.as_u128().to_be_bytes();
    let mut scored: Vec<(u64, u32)> = (0..partitions)
        .map(|p| (xxh3_64_with_seed(&key, u64::from(p)), p))
        .collect();
    scored.sort_unstable_by(|a, b| b.cmp(a));
    let mut chosen: Vec<u32> = scored
        .into_iter()
        .take(lanes.clamp(1, partitions.max(1)) as usize)
        .map(|(_, p)| p)
        .collect();
    chosen.sort_unstable();
    chosen
}

/// The one of these names that a tenant is spread to: the highest score of rendezvous hashing. One
/// more name takes its share of new tenants, and leaves the others where they would have been.
pub fn spread<'n>(tenant: TenantId, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let key = tenant.as_u128().to_be_bytes();
    names.max_by_key(|name| (xxh3_64_with_seed(&key, xxh3_64(name.as_bytes())), *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_never_moves_golden() {
        let tenant = TenantId::from_u128(0x0193_4f5e_7a00_7000_8000_0000_0000_0001);
        let placement = Placement::first(tenant, 4, 24);
        assert_eq!(placement.lanes, lanes_of(tenant, 4, 24));
        let golden = (
            placement.lanes.clone(),
            ["truck-1", "truck-2", "phone"].map(|d| placement.lane(d)),
        );
        assert_eq!(golden, (vec![2, 13, 16, 18], [2, 13, 16]));
    }

    #[test]
    fn tenants_are_spread_alike_everywhere_golden() {
        let names = ["main", "eu", "us"];
        let chosen: Vec<_> = (1..=8)
            .map(|n| spread(TenantId::from_u128(n), names.into_iter()).unwrap())
            .collect();
        let golden = ["main", "main", "main", "main", "main", "us", "main", "eu"];
        assert_eq!(chosen, golden);
        assert_eq!(spread(TenantId::from_u128(1), std::iter::empty()), None);
    }

    #[test]
    fn one_more_name_moves_only_what_it_wins() {
        for n in 0..1000 {
            let tenant = TenantId::from_u128(n);
            let before = spread(tenant, ["main", "eu"].into_iter());
            let after = spread(tenant, ["main", "eu", "us"].into_iter());
            assert!(after == before || after == Some("us"));
        }
    }

    #[test]
    fn a_set_of_its_own_has_the_like_lanes_behind_those_of_others() {
        let shared = Placement::first(TenantId::from_u128(1), 4, 24);
        let own = shared.clone().in_set(2);
        assert_eq!((shared.set(), own.set()), (0, 2));
        assert_eq!(own.lane("truck"), 48 + shared.lane("truck"));
        assert!(own.lanes.iter().all(|lane| !shared.allows(*lane)));
    }

    proptest::proptest! {
        #[test]
        fn a_device_stays_in_its_tenants_lanes(tenant: u128, lanes in 1u32..8, device in "[a-z0-9]{1,20}") {
            let placement = Placement::first(TenantId::from_u128(tenant), lanes, 24);
            proptest::prop_assert_eq!(placement.lanes.len(), lanes as usize);
            proptest::prop_assert!(placement.allows(placement.lane(&device)));
        }

        #[test]
        fn more_lanes_keep_the_old_ones(tenant: u128, lanes in 1u32..8) {
            let few = lanes_of(TenantId::from_u128(tenant), lanes, 24);
            let more = lanes_of(TenantId::from_u128(tenant), lanes + 1, 24);
            proptest::prop_assert!(few.iter().all(|l| more.contains(l)));
        }
    }
}
