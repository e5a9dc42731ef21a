//! A consistent copy of the log while it runs.

use std::path::Path;

use redb::{Database, Durability, Key, ReadTransaction, ReadableTable, TableDefinition, Value};

use super::store::{CHUNKS, FILE, KEYS, NUMBERS, OFFSETS, PARTITIONS, TEXTS, TOMBSTONES, TOPICS};
use crate::{LogError, Result};

pub(super) const DOING: &str = "copying the log for a backup";

/// Entries copied in one transaction, which bounds the memory that it takes.
const STEP: usize = 256;

/// Copies the log as `from` sees it into the folder `to`, which must not hold one yet. Blocks.
pub(super) fn copy(from: &ReadTransaction, to: &Path) -> Result<()> {
    let target = to.join(FILE);
    let partial = to.join(format!("{FILE}.partial"));
    let io = |what: &str, e: std::io::Error| LogError::Unavailable {
        doing: DOING,
        reason: format!("cannot {what} in {}: {e}", to.display()),
    };
    std::fs::create_dir_all(to).map_err(|e| io("make the folder", e))?;
    if target.exists() {
        return Err(LogError::Config(format!(
            "{} holds a log already; back up into an empty folder",
            to.display()
        )));
    }
    if partial.exists() {
        std::fs::remove_file(&partial)
            .map_err(|e| io("remove the rest of an earlier backup", e))?;
    }
    copy_all(from, &partial).map_err(|e| LogError::Unavailable {
        doing: DOING,
        reason: format!("{}: {e}", to.display()),
    })?;
    // Named last, so that what has the name is whole.
    std::fs::rename(&partial, &target).map_err(|e| io("name the copy", e))?;
    let folder = std::fs::File::open(to).map_err(|e| io("open the folder", e))?;
    folder.sync_all().map_err(|e| io("sync the folder", e))
}

fn copy_all(from: &ReadTransaction, partial: &Path) -> Result<(), redb::Error> {
    let to = Database::create(partial)?;
    copy_table(from, &to, CHUNKS)?;
    copy_table(from, &to, KEYS)?;
    copy_table(from, &to, TOMBSTONES)?;
    copy_table(from, &to, PARTITIONS)?;
    copy_table(from, &to, OFFSETS)?;
    copy_table(from, &to, TOPICS)?;
    copy_table(from, &to, TEXTS)?;
    copy_table(from, &to, NUMBERS)?;
    // An empty durable commit makes those before it durable.
    to.begin_write()?.commit()?;
    Ok(())
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &Database,
    table: TableDefinition<'static, K, V>,
) -> Result<(), redb::Error> {
    let source = from.open_table(table)?;
    let mut entries = source.iter()?;
    loop {
        let mut tx = to.begin_write()?;
        tx.set_durability(Durability::None)?;
        let mut copied = 0;
        {
            let mut target = tx.open_table(table)?;
            for entry in entries.by_ref().take(STEP) {
                let (key, value) = entry?;
                target.insert(key.value(), value.value())?;
                copied += 1;
            }
        }
        tx.commit()?;
        if copied < STEP {
            return Ok(());
        }
    }
}
