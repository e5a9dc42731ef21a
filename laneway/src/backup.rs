//! Backups of the embedded log and store, and putting them back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;
use laneway_control::Backup;
use laneway_log::Log;
use laneway_runtime::Clock;
use laneway_store::Store;
use laneway_tenancy::control::RoleAuthority;

use crate::config::Config;
use crate::secrets::private_folder;

const STORE: &str = "laneway.db";
const LOG: &str = "log";
const SECRETS: &str = "secrets";

/// Copies log and store of one instant, while everything runs. Either one older than the other
/// would not do: control changes that only the log has would have their version numbers given
/// again, and then be taken for repeats; a projection that is further than the log would pass
/// over what is written there next.
pub struct EmbeddedBackup {
    folder: PathBuf,
    secrets: PathBuf,
    store: Store,
    authority: RoleAuthority,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedBackup {
    pub fn new(config: &Config, store: Store, log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        EmbeddedBackup {
            folder: config.data_dir.join("backups"),
            secrets: config.data_dir.join(SECRETS),
            store,
            authority: RoleAuthority::for_role("backup"),
            log,
            clock,
        }
    }

    async fn copy(&self) -> anyhow::Result<String> {
        let name = jiff::Timestamp::from_microsecond(self.clock.now_us())?
            .strftime("%Y%m%dT%H%M%S%.6fZ")
            .to_string();
        let target = self.folder.join(&name);
        let partial = self.folder.join(format!(".{name}"));
        private_folder(&partial)?;
        let (store, log) = (partial.join(STORE), partial.join(LOG));
        let log = self
            .store
            .backup(&self.authority, &store, || self.log.backup(log))
            .await?;
        log.await?;
        if self.secrets.exists() {
            copy_folder(&self.secrets, &partial.join(SECRETS))?;
        }
        // Named last, so that what has the name is whole.
        std::fs::rename(&partial, &target)
            .with_context(|| format!("naming the backup {}", target.display()))?;
        let target = std::fs::canonicalize(&target).unwrap_or(target);
        Ok(target.display().to_string())
    }
}

impl Backup for EmbeddedBackup {
    fn run(&self) -> BoxFuture<'_, anyhow::Result<String>> {
        Box::pin(self.copy())
    }
}

/// Puts a backup where there is nothing yet.
pub fn restore(from: &Path, config: &Config) -> anyhow::Result<()> {
    for part in [STORE, LOG] {
        anyhow::ensure!(
            from.join(part).exists(),
            "{} is no backup: it has no {part}; name a folder that `laneway admin backup` printed",
            from.display()
        );
    }
    for taken in [
        config.data_dir.clone(),
        config.store_file(),
        config.log.embedded.path.clone(),
    ] {
        let empty = !taken.exists()
            || std::fs::read_dir(&taken).is_ok_and(|mut entries| entries.next().is_none());
        anyhow::ensure!(
            empty,
            "{} is there already: stop Laneway, move it away, and restore again; nothing was changed",
            taken.display()
        );
    }
    for folder in [
        Some(config.data_dir.as_path()),
        config.store_file().parent(),
    ]
    .into_iter()
    .flatten()
    {
        private_folder(folder)?;
    }
    if from.join(SECRETS).exists() {
        copy_folder(&from.join(SECRETS), &config.data_dir.join(SECRETS))?;
    }
    copy_folder(&from.join(LOG), &config.log.embedded.path)?;
    copy_file(&from.join(STORE), &config.store_file())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("creating the folder {}", to.display()))?;
    for entry in
        std::fs::read_dir(from).with_context(|| format!("reading the folder {}", from.display()))?
    {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            copy_file(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
}

/// With its permissions, and on the disk when this returns.
fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    std::fs::copy(from, to).with_context(doing)?;
    std::fs::File::open(to)
        .and_then(|file| file.sync_all())
        .with_context(doing)
}
