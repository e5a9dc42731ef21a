//! The devices of a partition, in memory: a million of them, so every byte counts. One that is
//! idle rests as packed bytes until something comes for it.

use foldhash::{HashMap, HashMapExt};
use xxhash_rust::xxh3::xxh3_64;

use crate::derive::{Device, pack, packed_name, unpack};

/// Slots lie in chunks, so that growing never moves or doubles them.
const CHUNK: usize = 1024;

enum Slot {
    Awake(Box<Device>),
    Resting(Box<[u8]>),
}

#[derive(Default)]
pub struct Devices {
    chunks: Vec<Vec<Slot>>,
    /// By the hash of (tenant, device); one that another device has already goes to the next.
    by_hash: HashMap<u64, u32>,
    scratch: Vec<u8>,
}

impl Devices {
    pub fn new() -> Self {
        Devices {
            chunks: Vec::new(),
            by_hash: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    fn slot(&self, place: u32) -> &Slot {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    fn slot_mut(&mut self, place: u32) -> &mut Slot {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }

    /// The device, awake.
    pub fn get_mut(&mut self, place: u32) -> &mut Device {
        let slot = self.slot_mut(place);
        if let Slot::Resting(packed) = slot {
            let device = unpack(packed).expect("a device is unpacked as this process packed it");
            *slot = Slot::Awake(Box::new(device));
        }
        match slot {
            Slot::Awake(device) => device,
            Slot::Resting(_) => unreachable!("it was just woken"),
        }
    }

    /// Packs a device that nothing is expected of for a while.
    pub fn rest(&mut self, place: u32) {
        let slot = &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK];
        if let Slot::Awake(device) = slot {
            // An open unit would lose track of it.
            if device.touch != u32::MAX || device.queued {
                return;
            }
            if !pack(device, &mut self.scratch) {
                return device.shrink();
            }
            // Freed before the bytes are allocated, so that they can take its place.
            *slot = Slot::Resting(Box::default());
            *slot = Slot::Resting(self.scratch.as_slice().into());
        }
    }

    /// The place of a device, new where it is.
    pub fn place(&mut self, tenant: u32, id: &str) -> u32 {
        let mut hash =
            xxh3_64(id.as_bytes()) ^ u64::from(tenant).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while let Some(place) = self.by_hash.get(&hash).copied() {
            let found = match self.slot(place) {
                Slot::Awake(device) => device.tenant == tenant && device.id() == id,
                Slot::Resting(packed) => {
                    packed_name(packed).is_ok_and(|(t, name, _)| t == tenant && name == id)
                }
            };
            if found {
                return place;
            }
            hash = hash.wrapping_add(1);
        }
        self.push(hash, Device::new(tenant, id))
    }

    /// Puts a restored device in the place of its like.
    pub fn insert(&mut self, device: Device) -> u32 {
        let place = self.place(device.tenant, device.id());
        *self.slot_mut(place) = Slot::Awake(Box::new(device));
        place
    }

    fn push(&mut self, hash: u64, device: Device) -> u32 {
        let place =
            u32::try_from(self.by_hash.len()).expect("a partition has far fewer than 2^32 devices");
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(Slot::Awake(Box::new(device)));
        }
        self.by_hash.insert(hash, place);
        place
    }
}
