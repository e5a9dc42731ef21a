//! Secrets at rest: AES-256-GCM, each bound to the row that it belongs to, under one of several
//! keys.
//!
//! Sealed is: `LWS2`, the key's id (8 bytes), the nonce (12 bytes), what it encrypts with its tag.
//! What was sealed before keys had ids begins with the nonce, and is tried with every key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};

use crate::codec::hex;
use crate::error::{Result, StoreError};

const MAGIC: &[u8; 4] = b"LWS2";
const ID_LEN: usize = 8;
const HEADER_LEN: usize = MAGIC.len() + ID_LEN;

pub(crate) struct Secrets {
    /// Seals, and opens.
    current: Key,
    /// Open only.
    old: Vec<Key>,
}

struct Key {
    /// Says nothing about the key, which is random.
    id: [u8; ID_LEN],
    cipher: RandomizedNonceKey,
}

impl Key {
    fn new(key: &[u8; 32]) -> Result<Self> {
        let mut context = Context::new(&SHA256);
        context.update(b"laneway.secret-key.id.v1\0");
        context.update(key);
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&context.finish().as_ref()[..ID_LEN]);
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| {
            StoreError::Config("store.secret_key cannot be used as a key".to_owned())
        })?;
        Ok(Key { id, cipher })
    }

    /// `None` where it was not sealed for this row with this key.
    fn open(&self, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let opened = self
            .cipher
            .open_in_place(nonce, Aad::from(row.as_bytes()), &mut rest);
        opened.ok().map(|opened| opened.to_vec())
    }
}

impl Secrets {
    pub(crate) fn new(current: &[u8; 32], old: &[[u8; 32]]) -> Result<Self> {
        Ok(Secrets {
            current: Key::new(current)?,
            old: old.iter().map(Key::new).collect::<Result<_>>()?,
        })
    }

    pub(crate) fn seal(&self, row: &str, secret: &str) -> Result<Vec<u8>> {
        let mut sealed = secret.as_bytes().to_vec();
        let nonce = self
            .current
            .cipher
            .seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut sealed)
            .map_err(|_| StoreError::Unavailable {
                doing: "encrypting a secret",
                reason: "the cipher failed".to_owned(),
            })?;
        let mut out = Vec::with_capacity(HEADER_LEN + NONCE_LEN + sealed.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.current.id);
        out.extend_from_slice(nonce.as_ref());
        out.append(&mut sealed);
        Ok(out)
    }

    pub(crate) fn open(&self, table: &'static str, row: &str, sealed: &[u8]) -> Result<String> {
        let corrupt = |reason: &str| StoreError::Corrupt {
            table,
            row: row.to_owned(),
            reason: reason.to_owned(),
        };
        if sealed.len() < NONCE_LEN {
            return Err(corrupt("its secret is too short"));
        }
        let opened = match self.named_key(sealed) {
            Named::Known(key) => key.open(row, &sealed[HEADER_LEN..]),
            Named::Unknown(_) | Named::No => None,
        };
        // A nonce of before may begin like today's header, once in four thousand million.
        let opened = opened.or_else(|| self.keys().find_map(|key| key.open(row, sealed)));
        let Some(opened) = opened else {
            return Err(match self.named_key(sealed) {
                Named::Unknown(id) => StoreError::UnknownKey {
                    table,
                    row: row.to_owned(),
                    key: hex(&id),
                    known: self.known(),
                },
                _ => corrupt(
                    "its secret was not encrypted for this row with store.secret_key or one of store.secret_keys_old",
                ),
            });
        };
        String::from_utf8(opened).map_err(|_| corrupt("its secret is not text"))
    }

    /// Whether it is sealed with the current key.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        matches!(self.named_key(sealed), Named::Known(key) if key.id == self.current.id)
    }

    /// The id of the current key, in hexadecimal digits.
    pub(crate) fn current_id(&self) -> String {
        hex(&self.current.id)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.old)
    }

    fn named_key(&self, sealed: &[u8]) -> Named<'_> {
        let Some(rest) = sealed.strip_prefix(MAGIC) else {
            return Named::No;
        };
        let Some(id) = rest.first_chunk::<ID_LEN>() else {
            return Named::No;
        };
        match self.keys().find(|key| key.id == *id) {
            Some(key) => Named::Known(key),
            None => Named::Unknown(*id),
        }
    }

    fn known(&self) -> String {
        let ids: Vec<String> = self.keys().map(|key| hex(&key.id)).collect();
        ids.join(", ")
    }
}

/// The key that a sealed secret names.
enum Named<'a> {
    Known(&'a Key),
    Unknown([u8; ID_LEN]),
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(current: u8, old: &[u8]) -> Secrets {
        let old: Vec<[u8; 32]> = old.iter().map(|n| [*n; 32]).collect();
        Secrets::new(&[current; 32], &old).unwrap()
    }

    #[test]
    fn a_secret_opens_only_in_its_own_row_and_with_its_key() {
        let secrets = with(1, &[]);
        let sealed = secrets.seal("a/1", "whsec_x").unwrap();
        assert_eq!(secrets.open("t", "a/1", &sealed).unwrap(), "whsec_x");
        assert!(secrets.open("t", "a/2", &sealed).is_err());
        assert!(with(2, &[]).open("t", "a/1", &sealed).is_err());
        for length in 0..sealed.len() {
            assert!(secrets.open("t", "a/1", &sealed[..length]).is_err());
        }
    }

    #[test]
    fn what_an_old_key_sealed_opens_and_is_known_not_to_be_current() {
        let sealed = with(1, &[]).seal("a/1", "whsec_x").unwrap();
        let rotated = with(2, &[3, 1]);
        assert_eq!(rotated.open("t", "a/1", &sealed).unwrap(), "whsec_x");
        assert!(!rotated.is_current(&sealed));
        let anew = rotated.seal("a/1", "whsec_x").unwrap();
        assert!(rotated.is_current(&anew));
        assert_eq!(with(2, &[]).open("t", "a/1", &anew).unwrap(), "whsec_x");
    }

    #[test]
    fn whoever_has_only_old_keys_is_told_which_key_is_missing() {
        let new = with(2, &[1]);
        let sealed = new.seal("a/1", "whsec_x").unwrap();
        let error = with(1, &[])
            .open("destinations", "a/1", &sealed)
            .unwrap_err();
        assert!(matches!(&error, StoreError::UnknownKey { key, .. } if *key == new.current_id()));
        assert!(
            error.to_string().contains("store.secret_keys_old"),
            "{error}"
        );
    }

    #[test]
    fn what_was_sealed_before_keys_had_ids_opens_still() {
        let sealed = with(1, &[]).seal("a/1", "whsec_x").unwrap();
        let before = &sealed[HEADER_LEN..];
        assert_eq!(with(1, &[]).open("t", "a/1", before).unwrap(), "whsec_x");
        assert_eq!(with(2, &[1]).open("t", "a/1", before).unwrap(), "whsec_x");
        assert!(!with(1, &[]).is_current(before));
        assert!(with(2, &[]).open("t", "a/1", before).is_err());
    }
}
