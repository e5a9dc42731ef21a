//! Secrets of the embedded default: made at the first start, kept in the data folder.

pub mod command;

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use aws_lc_rs::hmac;
use laneway_tenancy::Random;

pub type Key = [u8; 32];

/// 64 hexadecimal digits.
pub fn parse(text: &str) -> Option<Key> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(key)
}

/// Keys of before: each 64 hexadecimal digits, separated by commas.
pub fn parse_list(text: &str) -> Option<Vec<Key>> {
    let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.map(parse).collect()
}

/// The configured key; else the one that is kept in the data folder, made where there is none.
pub fn configured_or_kept(
    name: &str,
    configured: &str,
    data_dir: &Path,
    random: &dyn Random,
) -> anyhow::Result<Key> {
    if !configured.is_empty() {
        return parse(configured)
            .with_context(|| format!("the configured {name} is not 64 hexadecimal digits"));
    }
    let folder = data_dir.join("secrets");
    private_folder(&folder)?;
    let path = folder.join(name);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return parse(text.trim()).with_context(|| {
            format!("the kept secret {} is damaged: restore it from a backup; without it existing credentials are lost", path.display())
        });
    }
    let mut key = [0; 32];
    random.fill(&mut key);
    keep(&path, &key).with_context(|| format!("keeping the new secret {}", path.display()))?;
    tracing::info!(path = %path.display(), "made a secret; keep it with the backups");
    Ok(key)
}

/// Makes a folder, where it is missing, that only its owner may look into.
pub fn private_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("creating the folder {}", path.display()))
}

/// Another key, for one purpose, as hexadecimal digits.
pub fn derive(key: &Key, purpose: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, purpose.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn keep(path: &Path, key: &Key) -> std::io::Result<()> {
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let unfinished = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use laneway_tenancy::SystemRandom;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = configured_or_kept("hash_key", "", folder.path(), &SystemRandom).unwrap();
        assert_eq!(
            configured_or_kept("hash_key", "", folder.path(), &SystemRandom).unwrap(),
            first
        );
        let path = folder.path().join("secrets/hash_key");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&path, "damaged").unwrap();
        assert!(configured_or_kept("hash_key", "", folder.path(), &SystemRandom).is_err());
        let other =
            configured_or_kept("hash_key", &"0f".repeat(32), folder.path(), &SystemRandom).unwrap();
        assert_eq!(other, [0x0f; 32]);
    }
}
