//! Ids of derived things: XXH3 over what opened them, each part behind its length, so that no
//! two lists of parts read alike.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// 128 bits as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntityId([u8; 32]);

impl EntityId {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for EntityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a fix is remembered by, within its device.
pub fn fix_hash(fix_id: &str) -> u64 {
    xxh3_64(fix_id.as_bytes())
}

/// Hashes with a buffer that is kept.
#[derive(Default)]
pub struct IdHasher(Vec<u8>);

impl IdHasher {
    /// Of (tenant, device, kind, opener).
    pub fn entity(&mut self, tenant: &str, device: &str, kind: &str, opener: &[u8]) -> EntityId {
        self.0.clear();
        for part in [
            tenant.as_bytes(),
            device.as_bytes(),
            kind.as_bytes(),
            opener,
        ] {
            // Parts are ids and numbers, bounded by the size of a record.
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.0.extend_from_slice(&len.to_le_bytes());
            self.0.extend_from_slice(part);
        }
        let hash = xxh3_128(&self.0);
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let mut hex = [0; 32];
        for (digits, byte) in hex.chunks_exact_mut(2).zip(hash.to_be_bytes()) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        EntityId(hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_ids_never_change_golden() {
        let id = IdHasher::default().entity("ten_1", "truck", "position", b"fix-1");
        assert_eq!(id.as_str(), "3670e128eb4421e439c722c08a6e3008");
    }

    #[test]
    fn parts_that_run_together_differ() {
        let mut hasher = IdHasher::default();
        assert_ne!(
            hasher.entity("t", "ab", "k", b"c"),
            hasher.entity("t", "a", "k", b"bc")
        );
        assert_ne!(
            hasher.entity("t", "a", "window", b"x"),
            hasher.entity("t", "a", "windowx", b"")
        );
    }
}
