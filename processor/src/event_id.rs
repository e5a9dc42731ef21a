//! `entity id.revision`: what a receiver remembers.

use crate::derive::EntityId;

/// Entity id, a full stop and at most ten digits, on the stack.
pub struct EventId {
    bytes: [u8; 43],
    len: usize,
    revision: i32,
}

impl EventId {
    pub fn new(entity: &EntityId, revision: u32) -> Self {
        let revision = i32::try_from(revision).unwrap_or(i32::MAX);
        let mut bytes = [b'.'; 43];
        bytes[..32].copy_from_slice(entity.as_str().as_bytes());
        let mut digits = [0u8; 10];
        let mut first = digits.len();
        let mut left = revision;
        loop {
            first -= 1;
            digits[first] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        let shown = &digits[first..];
        bytes[33..33 + shown.len()].copy_from_slice(shown);
        EventId {
            bytes,
            len: 33 + shown.len(),
            revision,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn revision(&self) -> i32 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive::IdHasher;

    #[test]
    fn an_event_id_is_the_entity_and_the_revision() {
        let entity = IdHasher::default().entity("t", "d", "window", b"1");
        for revision in [0, 1, 10, 987, 2_147_483_647] {
            let id = EventId::new(&entity, revision);
            assert_eq!(
                id.as_bytes(),
                format!("{}.{revision}", entity.as_str()).as_bytes()
            );
        }
        assert_eq!(EventId::new(&entity, u32::MAX).revision(), i32::MAX);
    }
}
