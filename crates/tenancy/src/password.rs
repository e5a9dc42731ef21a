//! Passwords: Argon2id, on a bounded pool of blocking threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::Random;

/// Of one hash: 19 MiB, two passes, one lane (the OWASP minimum for Argon2id). What was hashed
/// with others stays valid: the stored form carries its own.
pub const MEMORY_KIB: u32 = 19 * 1024;
pub const PASSES: u32 = 2;
pub const LANES: u32 = 1;

/// Longest password that is looked at, in bytes.
pub const MAX_PASSWORD: usize = 256;
/// Shortest password that may be set, in bytes.
pub const MIN_PASSWORD: usize = 12;

/// Checks that may wait for a thread; more are refused.
const MAX_WAITING: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("a password must have {MIN_PASSWORD} to {MAX_PASSWORD} bytes; choose another one")]
    Length,
    #[error("too many passwords are being checked already; try again later")]
    Busy,
    #[error("hashing a password failed: {0}")]
    Hash(String),
}

/// Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Passwords(Arc<Pool>);

struct Pool {
    threads: Semaphore,
    waiting: AtomicUsize,
    /// What unknown users are checked against, so that timing does not tell them apart.
    dummy: String,
}

impl Passwords {
    /// At most `threads` passwords are hashed at a time, each in [`MEMORY_KIB`].
    pub fn new(threads: usize) -> Self {
        let dummy = hash(b"nobody's password", &[0x5a; 16]).unwrap_or_default();
        Passwords(Arc::new(Pool {
            threads: Semaphore::new(threads.max(1)),
            waiting: AtomicUsize::new(0),
            dummy,
        }))
    }

    /// The stored form (a PHC string) of a new password.
    pub async fn hash(
        &self,
        password: String,
        random: &dyn Random,
    ) -> Result<String, PasswordError> {
        if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.len()) {
            return Err(PasswordError::Length);
        }
        let mut salt = [0u8; 16];
        random.fill(&mut salt);
        self.blocking(move || hash(password.as_bytes(), &salt))
            .await?
    }

    /// Whether `password` is what `stored` was made from. Without a `stored` one it takes as
    /// long, and is not.
    pub async fn verify(
        &self,
        password: Vec<u8>,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.0.dummy.clone());
        let same = self.blocking(move || verify(&password, &stored)).await?;
        Ok(known && same)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _waiting = Waiting::enter(&self.0.waiting)?;
        let _permit = self
            .0
            .threads
            .acquire()
            .await
            .map_err(|e| PasswordError::Hash(e.to_string()))?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| PasswordError::Hash(e.to_string()))
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, PasswordError> {
        let waiting = Waiting(count);
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(PasswordError::Busy);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32))
        .map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8], salt: &[u8]) -> Result<String, PasswordError> {
    let phc = argon2()?
        .hash_password_with_salt(password, salt)
        .map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(phc.to_string())
}

/// The comparison of the digests is constant-time (in `password-hash`).
fn verify(password: &[u8], stored: &str) -> bool {
    argon2().is_ok_and(|argon2| {
        PasswordVerifier::<str>::verify_password(&argon2, password, stored).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_passes() {
        let passwords = Passwords::new(1);
        let stored = passwords
            .hash("correct horse battery".into(), &SystemRandom)
            .await
            .unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(
            passwords
                .verify(b"correct horse battery".to_vec(), Some(stored.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify(b"correct horse batterx".to_vec(), Some(stored))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify(b"nobody's password".to_vec(), None)
                .await
                .unwrap()
        );
        assert_eq!(
            passwords.hash("short".into(), &SystemRandom).await,
            Err(PasswordError::Length)
        );
    }
}
