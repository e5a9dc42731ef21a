//! Secrets that the platform gives out: device tokens (`lwd_…`), API keys (`lwk_…`) and
//! provisioning keys (`lwp_…`).
//!
//! `prefix` + 39 characters of base 32 (192 random bits) + 6 check characters. The check part
//! lets a mistyped or truncated one be refused without asking the store, and lets secret
//! scanners tell a real one. Only a keyed hash is ever stored.

use std::fmt;

use aws_lc_rs::hmac;
use xxhash_rust::xxh3::xxh3_64;

use crate::Random;
use crate::id::ALPHABET;

const RANDOM_BYTES: usize = 24;
const BODY: usize = 39;
const CHECK: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Device,
    Key,
    /// Devices enrol themselves with it, which is all that it is good for.
    Provisioning,
}

impl TokenKind {
    pub fn prefix(self) -> &'static str {
        match self {
            TokenKind::Device => "lwd_",
            TokenKind::Key => "lwk_",
            TokenKind::Provisioning => "lwp_",
        }
    }
}

/// A secret in the clear: shown once to whom it was made for, then gone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn generate(kind: TokenKind, random: &dyn Random) -> Token {
        let mut bytes = [0u8; RANDOM_BYTES];
        random.fill(&mut bytes);
        let mut text = String::with_capacity(4 + BODY + CHECK);
        text.push_str(kind.prefix());
        for i in 0..BODY {
            text.push(char::from(ALPHABET[five_bits(&bytes, i)]));
        }
        let check = check_part(text.as_bytes());
        text.extend(check.map(char::from));
        Token(text)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.0[..4])
    }
}

/// The kind of a well-formed token, its check part included; `None` for anything else.
pub fn token_kind(text: &[u8]) -> Option<TokenKind> {
    let kind = match text.get(..4)? {
        b"lwd_" => TokenKind::Device,
        b"lwk_" => TokenKind::Key,
        b"lwp_" => TokenKind::Provisioning,
        _ => return None,
    };
    let (signed, check) = text.split_at_checked(4 + BODY)?;
    (check == check_part(signed)).then_some(kind)
}

/// Makes the keyed hashes under which secrets are stored: HMAC-SHA-256 with the deployment's
/// `auth.hash_key`. A stolen table alone can then not be searched for known tokens.
#[derive(Clone)]
pub struct TokenHasher(hmac::Key);

impl TokenHasher {
    pub fn new(hash_key: &[u8; 32]) -> Self {
        TokenHasher(hmac::Key::new(hmac::HMAC_SHA256, hash_key))
    }

    pub fn hash(&self, token: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, token);
        let mut out = [0u8; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// A short hash for cache keys of this process.
    pub(crate) fn cache_key(&self, parts: &[&[u8]]) -> u128 {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let tag = context.sign();
        let mut out = [0u8; 16];
        out.copy_from_slice(&tag.as_ref()[..16]);
        u128::from_le_bytes(out)
    }
}

impl fmt::Debug for TokenHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHasher(…)")
    }
}

/// Bits `5 * i` to `5 * i + 4`; zeros past the end.
fn five_bits(bytes: &[u8], i: usize) -> usize {
    (0..5).fold(0, |value, b| {
        let bit = 5 * i + b;
        let set = bytes
            .get(bit / 8)
            .is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
        (value << 1) | usize::from(set)
    })
}

fn check_part(signed: &[u8]) -> [u8; CHECK] {
    let hash = xxh3_64(signed);
    std::array::from_fn(|i| ALPHABET[((hash >> (5 * i)) & 31) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    #[test]
    fn a_token_with_one_changed_character_is_refused() {
        let token = Token::generate(TokenKind::Device, &SystemRandom);
        let text = token.reveal().as_bytes();
        assert_eq!(text.len(), 49);
        assert_eq!(token_kind(text), Some(TokenKind::Device));
        for i in 0..text.len() {
            let mut changed = text.to_vec();
            changed[i] = if changed[i] == b'z' { b'y' } else { b'z' };
            assert_eq!(token_kind(&changed), None, "position {i}");
        }
        assert_eq!(token_kind(&text[..text.len() - 1]), None);
        assert_eq!(token_kind(b"lwd_"), None);
    }

    #[test]
    fn hashes_depend_on_the_deployments_key() {
        let token = Token::generate(TokenKind::Key, &SystemRandom);
        let text = token.reveal().as_bytes();
        assert_eq!(
            TokenHasher::new(&[1; 32]).hash(text),
            TokenHasher::new(&[1; 32]).hash(text)
        );
        assert_ne!(
            TokenHasher::new(&[1; 32]).hash(text),
            TokenHasher::new(&[2; 32]).hash(text)
        );
    }

    #[test]
    fn tokens_do_not_show_in_debug_output() {
        let token = Token::generate(TokenKind::Device, &SystemRandom);
        assert_eq!(format!("{token:?}"), "lwd_…");
    }
}
