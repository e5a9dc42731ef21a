//! What can go wrong with the store, told apart by what the caller does about it.

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Passing trouble: whether a write took place is not known. Try again later.
    #[error("the store is unavailable while {doing}: {reason}; try again later")]
    Unavailable { doing: &'static str, reason: String },
    /// Something of that name exists already.
    #[error("{what} exists already; choose another one")]
    Exists { what: String },
    /// The call goes against what already is.
    #[error("{0}")]
    Refused(String),
    #[error("limits.{limit}: the tenant has its {most} already; remove one, or ask for more")]
    LimitReached { limit: &'static str, most: u64 },
    /// What is to be changed has changed meanwhile.
    #[error("{what} has changed meanwhile; read it again")]
    Changed { what: String },
    /// What the call is about does not exist (for this tenant).
    #[error("there is no {what}")]
    Missing { what: String },
    /// The projection of a partition is not where the batch begins: another member has written.
    #[error(
        "the projection of generation {generation}, partition {partition} is at {actual:?}, not at {expected}; read on from there"
    )]
    Moved {
        generation: u32,
        partition: u32,
        expected: u64,
        actual: Option<u64>,
    },
    /// Stored data cannot be read.
    #[error("{table}, row {row}: {reason}; the stored data is damaged, restore it from a backup")]
    Corrupt {
        table: &'static str,
        row: String,
        reason: String,
    },
    /// A secret was encrypted with a key that this process was not given.
    #[error(
        "{table}, row {row}: its secret was encrypted with the key {key}, and this process has {known}; give it that key, as store.secret_key or in store.secret_keys_old"
    )]
    UnknownKey {
        table: &'static str,
        row: String,
        key: String,
        known: String,
    },
    #[error("the store configuration is wrong: {0}")]
    Config(String),
    #[error(
        "migrating the store failed: {0}; the database is as before, fix the cause and start again"
    )]
    Migration(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anything else being done.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }
}

/// Names what was being done when the database refused.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T> {
        crate::slow::ended(doing);
        self.map_err(|error| StoreError::Unavailable {
            doing,
            reason: error.to_string(),
        })
    }
}
