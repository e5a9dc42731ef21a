//! The database file: its tables, opening, and reopening after an I/O error.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use crate::{EmbeddedConfig, LogConfig, LogError, Result, Topic, TopicSets, TopicSetup};

pub(super) const FILE: &str = "log.redb";
const FORMAT: u64 = 1;

/// (topic, partition, last offset), big-endian, to a chunk. A compacted topic has one record
/// in each.
pub(super) const CHUNKS: TableDefinition<'static, [u8; 13], &'static [u8]> =
    TableDefinition::new("chunks");
/// (topic, partition, record key) to the offset of the key's only record.
pub(super) const KEYS: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("keys");
/// (timestamp, topic, partition, offset) of tombstones, oldest first.
pub(super) const TOMBSTONES: TableDefinition<'static, [u8; 21], ()> =
    TableDefinition::new("tombstones");
/// (topic, partition) to the packed [`Row`].
pub(super) const PARTITIONS: TableDefinition<'static, [u8; 5], [u8; 32]> =
    TableDefinition::new("partitions");
/// (group, topic, partition) to the committed offset.
pub(super) const OFFSETS: TableDefinition<'static, (&'static str, u8, u32), u64> =
    TableDefinition::new("offsets");
/// Topic to its partition count.
pub(super) const TOPICS: TableDefinition<'static, u8, u32> = TableDefinition::new("topics");
pub(super) const NUMBERS: TableDefinition<'static, &'static str, u64> =
    TableDefinition::new("numbers");
pub(super) const TEXTS: TableDefinition<'static, &'static str, &'static str> =
    TableDefinition::new("texts");

/// What the database keeps of each partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) earliest: u64,
    /// Kept apart from the records, so that an offset is never given twice.
    pub(super) end: u64,
    pub(super) bytes: u64,
    pub(super) running_max: i64,
}

impl Row {
    pub(super) fn pack(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.earliest.to_le_bytes());
        out[8..16].copy_from_slice(&self.end.to_le_bytes());
        out[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        out[24..].copy_from_slice(&self.running_max.to_le_bytes());
        out
    }

    pub(super) fn unpack(packed: &[u8; 32]) -> Self {
        let at = |n: usize| u64::from_le_bytes(packed[n..n + 8].try_into().expect("eight bytes"));
        Row {
            earliest: at(0),
            end: at(8),
            bytes: at(16),
            running_max: at(24).cast_signed(),
        }
    }
}

pub(super) fn lane_key(topic: Topic, partition: u32) -> [u8; 5] {
    let mut key = [topic as u8; 5];
    key[1..].copy_from_slice(&partition.to_be_bytes());
    key
}

pub(super) fn chunk_key(topic: Topic, partition: u32, last: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..5].copy_from_slice(&lane_key(topic, partition));
    key[5..].copy_from_slice(&last.to_be_bytes());
    key
}

pub(super) fn chunk_offset(key: &[u8; 13]) -> u64 {
    u64::from_be_bytes(key[5..].try_into().expect("eight bytes"))
}

/// The database, which an I/O error takes away until it is reopened.
pub(super) struct Store {
    folder: PathBuf,
    cache_bytes: usize,
    min_free_bytes: u64,
    database: RwLock<Option<Database>>,
}

impl Store {
    /// Opens the folder, creates or verifies its topics.
    pub(super) fn open(config: &LogConfig, sets: &TopicSets) -> Result<Self> {
        let EmbeddedConfig {
            path,
            min_free_bytes,
            cache_bytes,
        } = &config.embedded;
        let fresh = !path.join(FILE).exists();
        if fresh && config.topics == TopicSetup::Verify {
            return Err(LogError::Topic {
                topic: format!("{}{}", config.topic_prefix, Topic::LocationUpdates),
                reason: format!(
                    "it is missing, {} holds no log; set log.topics to create, or correct embedded.path",
                    path.display()
                ),
            });
        }
        std::fs::create_dir_all(path).map_err(|e| {
            LogError::Config(format!(
                "cannot create embedded.path {}: {e}; choose a folder to write to",
                path.display()
            ))
        })?;
        let store = Store {
            folder: path.clone(),
            cache_bytes: *cache_bytes,
            min_free_bytes: *min_free_bytes,
            database: RwLock::new(None),
        };
        store.reopen()?;
        store.set_up_topics(config, sets)?;
        Ok(store)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the database (again). Reads that go on in the old one fail, new ones wait.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut slot = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Its file lock is given up first.
        drop(slot.take());
        let opened = Database::builder()
            .set_cache_size(self.cache_bytes)
            .create(self.folder.join(FILE));
        *slot = Some(opened.map_err(|error| self.open_error(error))?);
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        self.database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    pub(super) fn close(&self) {
        drop(
            self.database
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    fn open_error(&self, error: DatabaseError) -> LogError {
        let at = self.folder.display();
        match error {
            DatabaseError::DatabaseAlreadyOpen => LogError::Config(format!(
                "embedded.path {at} is in use: another laneway process has the log open; \
                 stop it, or give this one a folder of its own"
            )),
            DatabaseError::UpgradeRequired(version) => LogError::Corrupt {
                at: at.to_string(),
                reason: format!("its file format {version} is older than this program reads"),
            },
            other => self.error("opening the log", other),
        }
    }

    /// What an error of the database means to a caller.
    pub(super) fn error(&self, doing: &'static str, error: impl Into<redb::Error>) -> LogError {
        match error.into() {
            redb::Error::Io(e) if is_full(&e) => self.full(e.to_string()),
            redb::Error::Corrupted(reason) => LogError::Corrupt {
                at: self.folder.display().to_string(),
                reason,
            },
            other => LogError::Unavailable {
                doing,
                reason: format!("{}: {other}", self.folder.display()),
            },
        }
    }

    fn full(&self, reason: String) -> LogError {
        LogError::Full {
            path: self.folder.display().to_string(),
            reason,
        }
    }

    pub(super) fn read(&self, doing: &'static str) -> Result<ReadTransaction> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = slot.as_ref().ok_or_else(|| self.away(doing))?;
        database.begin_read().map_err(|e| self.error(doing, e))
    }

    pub(super) fn write(&self, doing: &'static str) -> Result<WriteTransaction> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = slot.as_ref().ok_or_else(|| self.away(doing))?;
        database.begin_write().map_err(|e| self.error(doing, e))
    }

    fn away(&self, doing: &'static str) -> LogError {
        let reason = format!(
            "the database in {} is not open after an I/O error or a close",
            self.folder.display()
        );
        LogError::Unavailable { doing, reason }
    }

    /// An error where the disk has less free space than the configuration reserves.
    pub(super) fn check_space(&self) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|e| LogError::Unavailable {
            doing: "asking for free disk space",
            reason: format!("{}: {e}", self.folder.display()),
        })?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.min_free_bytes {
            return Err(self.full(format!(
                "{free} bytes are free, embedded.min_free_bytes reserves {}",
                self.min_free_bytes
            )));
        }
        Ok(())
    }

    fn set_up_topics(&self, config: &LogConfig, sets: &TopicSets) -> Result<()> {
        const DOING: &str = "setting up topics";
        let tx = self.write(DOING)?;
        let fail = |e: redb::Error| self.error(DOING, e);
        let topic_error = |topic: Topic, reason: String| LogError::Topic {
            topic: format!("{}{topic}", config.topic_prefix),
            reason,
        };
        {
            let mut numbers = tx.open_table(NUMBERS).map_err(|e| fail(e.into()))?;
            let format = numbers
                .get("format")
                .map_err(|e| fail(e.into()))?
                .map(|v| v.value());
            match format {
                Some(FORMAT) => {}
                Some(other) => {
                    return Err(LogError::Corrupt {
                        at: self.folder.display().to_string(),
                        reason: format!("its format is {other}, this program reads {FORMAT}"),
                    });
                }
                None => {
                    numbers
                        .insert("format", FORMAT)
                        .map_err(|e| fail(e.into()))?;
                }
            }
            let mut texts = tx.open_table(TEXTS).map_err(|e| fail(e.into()))?;
            let prefix = texts
                .get("topic_prefix")
                .map_err(|e| fail(e.into()))?
                .map(|v| v.value().to_owned());
            match prefix {
                Some(stored) if stored != config.topic_prefix => {
                    return Err(topic_error(
                        Topic::LocationUpdates,
                        format!(
                            "it is missing, {} holds topics with the prefix {stored:?}; correct \
                             log.topic_prefix or embedded.path",
                            self.folder.display()
                        ),
                    ));
                }
                Some(_) => {}
                None => {
                    texts
                        .insert("topic_prefix", config.topic_prefix.as_str())
                        .map_err(|e| fail(e.into()))?;
                }
            }
            // The sets' lanes are numbered one after another: none may be taken out or come between.
            let stored = texts
                .get("topic_sets")
                .map_err(|e| fail(e.into()))?
                .map(|v| v.value().to_owned())
                .unwrap_or_default();
            let known: Vec<&str> = stored.split(',').filter(|name| !name.is_empty()).collect();
            let begins = config.topic_sets.iter().take(known.len());
            if !known.iter().eq(begins) {
                return Err(LogError::Config(format!(
                    "the log in {} has the topic sets {stored}: log.topic_sets has to begin with them, in this order",
                    self.folder.display()
                )));
            }
            texts
                .insert("topic_sets", config.topic_sets.join(",").as_str())
                .map_err(|e| fail(e.into()))?;
            let mut topics = tx.open_table(TOPICS).map_err(|e| fail(e.into()))?;
            for topic in Topic::ALL {
                let wanted = sets.in_each(topic);
                let stored = topics
                    .get(topic as u8)
                    .map_err(|e| fail(e.into()))?
                    .map(|v| v.value());
                match stored {
                    Some(stored) if stored != wanted => {
                        return Err(topic_error(
                            topic,
                            format!(
                                "it has {stored} partitions in {}, the configuration says {wanted}; set \
                                 log.partitions to {stored}, or start with an empty folder",
                                self.folder.display()
                            ),
                        ));
                    }
                    Some(_) => {}
                    None if config.topics == TopicSetup::Verify => {
                        let reason = format!(
                            "it is missing in {}; set log.topics to create",
                            self.folder.display()
                        );
                        return Err(topic_error(topic, reason));
                    }
                    None => {
                        topics
                            .insert(topic as u8, wanted)
                            .map_err(|e| fail(e.into()))?;
                    }
                }
            }
            // Readers may then count on the tables being there.
            tx.open_table(CHUNKS).map_err(|e| fail(e.into()))?;
            tx.open_table(KEYS).map_err(|e| fail(e.into()))?;
            tx.open_table(TOMBSTONES).map_err(|e| fail(e.into()))?;
            tx.open_table(PARTITIONS).map_err(|e| fail(e.into()))?;
            tx.open_table(OFFSETS).map_err(|e| fail(e.into()))?;
        }
        tx.commit().map_err(|e| self.error(DOING, e))
    }
}

/// Whether space, a quota or a size limit has run out.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | FileTooLarge | QuotaExceeded)
}
