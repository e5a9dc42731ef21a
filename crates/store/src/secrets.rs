//! Secrets at rest: AES-256-GCM, each bound to the row that it belongs to.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use crate::error::{Result, StoreError};

pub(crate) struct Secrets(RandomizedNonceKey);

impl Secrets {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key)
            .map(Secrets)
            .map_err(|_| StoreError::Config("store.secret_key cannot be used as a key".to_owned()))
    }

    /// Nonce, then what it encrypts with its tag.
    pub(crate) fn seal(&self, row: &str, secret: &str) -> Result<Vec<u8>> {
        let mut sealed = secret.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut sealed)
            .map_err(|_| StoreError::Unavailable {
                doing: "encrypting a secret",
                reason: "the cipher failed".to_owned(),
            })?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    pub(crate) fn open(&self, table: &'static str, row: &str, sealed: &[u8]) -> Result<String> {
        let corrupt = |reason: &str| StoreError::Corrupt {
            table,
            row: row.to_owned(),
            reason: reason.to_owned(),
        };
        let (nonce, rest) = sealed
            .split_at_checked(NONCE_LEN)
            .ok_or_else(|| corrupt("its secret is too short"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce)
            .map_err(|_| corrupt("its secret has no nonce"))?;
        let mut rest = rest.to_vec();
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(row.as_bytes()), &mut rest)
            .map_err(|_| {
                corrupt("its secret was not encrypted for this row with store.secret_key")
            })?;
        String::from_utf8(opened.to_vec()).map_err(|_| corrupt("its secret is not text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_in_its_own_row_and_with_its_key() {
        let secrets = Secrets::new(&[1; 32]).unwrap();
        let sealed = secrets.seal("a/1", "whsec_x").unwrap();
        assert_eq!(secrets.open("t", "a/1", &sealed).unwrap(), "whsec_x");
        assert!(secrets.open("t", "a/2", &sealed).is_err());
        assert!(
            Secrets::new(&[2; 32])
                .unwrap()
                .open("t", "a/1", &sealed)
                .is_err()
        );
        assert!(secrets.open("t", "a/1", &sealed[..5]).is_err());
    }
}
