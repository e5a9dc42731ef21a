//! The devices of a partition, in memory: a million of them, so every byte counts.

use foldhash::{HashMap, HashMapExt};
use xxhash_rust::xxh3::xxh3_64;

use crate::derive::Device;

/// Devices lie in chunks, so that growing never moves or doubles them.
const CHUNK: usize = 256;

#[derive(Default)]
pub struct Devices {
    chunks: Vec<Vec<Device>>,
    /// By the hash of (tenant, device); one that another device has already goes to the next.
    by_hash: HashMap<u64, u32>,
}

impl Devices {
    pub fn new() -> Self {
        Devices { chunks: Vec::new(), by_hash: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn get(&self, place: u32) -> &Device {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    pub fn get_mut(&mut self, place: u32) -> &mut Device {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    /// The place of a device, new where it is.
    pub fn place(&mut self, tenant: u32, id: &str) -> u32 {
        let mut hash = xxh3_64(id.as_bytes()) ^ u64::from(tenant).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while let Some(place) = self.by_hash.get(&hash).copied() {
            let device = self.get(place);
            if device.tenant == tenant && device.id() == id {
                return place;
            }
            hash = hash.wrapping_add(1);
        }
        self.push(hash, Device::new(tenant, id))
    }

    /// Puts a restored device in the place of its like.
    pub fn insert(&mut self, device: Device) -> u32 {
        let place = self.place(device.tenant, device.id());
        *self.get_mut(place) = device;
        place
    }

    fn push(&mut self, hash: u64, device: Device) -> u32 {
        let place = u32::try_from(self.by_hash.len()).unwrap_or(u32::MAX);
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(device);
        }
        self.by_hash.insert(hash, place);
        place
    }
}
