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
const SHARDS: &str = "shards";
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
        let (store, shards, log) = (partial.join(STORE), partial.join(SHARDS), partial.join(LOG));
        private_folder(&shards)?;
        let log = self
            .store
            .backup(&self.authority, &store, &shards, || self.log.backup(log))
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
    let shards = shards(from, config)?;
    let files = shards.iter().map(|(_, to)| to.clone());
    let targets = [
        config.data_dir.clone(),
        config.store_file(),
        config.log.embedded.path.clone(),
    ];
    for taken in targets.into_iter().chain(files) {
        let empty = !taken.exists()
            || std::fs::read_dir(&taken).is_ok_and(|mut entries| entries.next().is_none());
        anyhow::ensure!(
            empty,
            "{} is there already: stop Laneway, move it away, and restore again; nothing was changed",
            taken.display()
        );
    }
    let store = config.store_file();
    let files = shards.iter().map(|(_, to)| to.as_path());
    let folders = files.chain([store.as_path()]).filter_map(Path::parent);
    for folder in folders.chain([config.data_dir.as_path()]) {
        private_folder(folder)?;
    }
    if from.join(SECRETS).exists() {
        copy_folder(&from.join(SECRETS), &config.data_dir.join(SECRETS))?;
    }
    copy_folder(&from.join(LOG), &config.log.embedded.path)?;
    for (shard, to) in &shards {
        copy_file(shard, to)?;
    }
    copy_file(&from.join(STORE), &store)
}

/// The shards of a backup, each with where it is to be. One that the backup has not was added
/// later, and begins empty.
fn shards(from: &Path, config: &Config) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let from = from.join(SHARDS);
    if !from.exists() {
        return Ok(Vec::new());
    }
    let files = config.shard_files()?.unwrap_or_default();
    let there = std::fs::read_dir(&from)
        .with_context(|| format!("reading the folder {}", from.display()))?;
    let mut shards = Vec::new();
    for shard in there {
        let shard = shard?.path();
        let name = shard.file_stem().and_then(|name| name.to_str());
        let to = name.and_then(|name| files.get(name)).with_context(|| {
            format!(
                "the backup has the database {}, and store.shards.urls names no file for it",
                name.unwrap_or_default()
            )
        })?;
        shards.push((shard, to.clone()));
    }
    Ok(shards)
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
