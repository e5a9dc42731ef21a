//! Shards: databases beside the main one. Each keeps the tables of the tenants that were put
//! there. What the main one has of them is in [`crate::homes`].
//!
//! Invariant: which database a tenant has is decided once, at its creation, and is in its row. It
//! is looked up there and never worked out again, so that another rule moves nobody. What cannot
//! be looked up, or is not configured, is unavailable: nothing falls back to the main database.
//! A tenant and those below it are in one database, so that what changes together does so in one
//! transaction.

mod choice;
mod idle;
mod known;
mod marks;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use sqlx::Row;
use tokio::sync::Mutex;

use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};
use crate::open::StoreConfig;
use crate::outbox::Told;
use crate::projection::{Rows, Span};
use crate::{Store, migrate};

use idle::Idle;
use known::Known;

pub(crate) use choice::Chosen;
pub(crate) use known::{Place, has};
pub(crate) use marks::{OF_TENANTS, is_there, keep_mark, mark, unmark, unmark_in};

/// What the main database is called where databases are named.
pub const MAIN: &str = "main";

/// How the database of a new tenant is chosen where nothing else says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardRule {
    /// The main database.
    #[default]
    Main,
    /// One of the main database and the shards that are not dedicated, by the tenant's id.
    Spread,
}

/// The databases beside the main one, and whom they are for.
#[derive(Clone, Default)]
pub struct ShardConfig {
    /// Their URLs by name.
    pub urls: BTreeMap<String, String>,
    pub rule: ShardRule,
    /// Names of databases by the slugs of tenants that are put there, whatever the rule says.
    pub exceptions: BTreeMap<String, String>,
    /// Those that the rule never chooses: each is for one tenant and those below it.
    pub dedicated: BTreeSet<String>,
}

/// Without the URLs, which may hold passwords.
impl fmt::Debug for ShardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardConfig")
            .field("names", &self.urls.keys())
            .field("rule", &self.rule)
            .field("exceptions", &self.exceptions)
            .field("dedicated", &self.dedicated)
            .finish()
    }
}

/// A database beside the main one: a store of its own.
pub(crate) struct Shard {
    name: String,
    store: Store,
    idle: Idle,
    /// Whether its tables are known to be up to date.
    ready: AtomicBool,
    /// One brings them up to date at a time.
    preparing: Mutex<()>,
}

/// Those of one store.
#[derive(Default)]
pub(crate) struct Shards {
    /// Of the main database; one beside it has none, and looks for tenants nowhere else.
    of_main: bool,
    config: ShardConfig,
    by_name: BTreeMap<String, Shard>,
    known: Known,
    /// Of all databases of one store.
    pub(crate) told: Arc<Told>,
}

impl Shards {
    /// Connects to none yet.
    pub(crate) fn new(config: &StoreConfig) -> Result<Self> {
        config
            .shards
            .check(&config.url)
            .map_err(|(key, what)| StoreError::Config(format!("store.shards.{key} {what}")))?;
        let told = Arc::new(Told::default());
        let mut by_name = BTreeMap::new();
        for (name, url) in &config.shards.urls {
            let of_its_own = StoreConfig {
                url: url.clone(),
                shards: ShardConfig::default(),
                ..config.clone()
            };
            let no_others = Shards {
                told: told.clone(),
                ..Shards::default()
            };
            let store = Store::connect(&of_its_own, no_others).map_err(|error| {
                StoreError::Config(format!("store.shards.urls, {name}: {error}"))
            })?;
            let shard = Shard {
                name: name.clone(),
                store,
                idle: Idle::default(),
                ready: AtomicBool::new(false),
                preparing: Mutex::default(),
            };
            by_name.insert(name.clone(), shard);
        }
        Ok(Shards {
            of_main: true,
            config: config.shards.clone(),
            by_name,
            known: Known::default(),
            told,
        })
    }

    pub(crate) fn config(&self) -> &ShardConfig {
        &self.config
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Shard> {
        self.by_name.values()
    }

    /// The store of a name, where it can be used.
    pub(crate) fn get(&self, name: &str) -> Result<&Store> {
        match self.by_name.get(name) {
            Some(shard) => shard.store(),
            None => Err(unavailable(
                name,
                "is not among the store.shards.urls that this process was given",
            )),
        }
    }

    /// Whether the one of a name answers.
    pub(crate) async fn answers(&self, name: &str) -> Result<()> {
        match self.by_name.get(name) {
            Some(shard) => shard.prepare().await,
            None => self.get(name).map(drop),
        }
    }

    /// Whether all answer; those that have not before are brought up to date. Names those that do
    /// not.
    pub(crate) async fn health(&self) -> Result<()> {
        let asked = self.each().map(|shard| async {
            let error = shard.prepare().await.err()?;
            Some(format!("the database {}: {error}", shard.name))
        });
        let trouble: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        if trouble.is_empty() {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            doing: "asking for the health of the shards",
            reason: trouble.join("; "),
        })
    }

    pub(crate) async fn close(&self) {
        for shard in self.by_name.values() {
            shard.store.0.pool.close().await;
        }
    }
}

fn unavailable(name: &str, reason: &str) -> StoreError {
    StoreError::Unavailable {
        doing: "going to a tenant's database",
        reason: format!("the database {name} {reason}"),
    }
}

impl Shard {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it can be used.
    pub(crate) fn store(&self) -> Result<&Store> {
        if self.ready.load(Ordering::Acquire) {
            return Ok(&self.store);
        }
        Err(unavailable(
            &self.name,
            "has not answered since this process started",
        ))
    }

    /// Writes what a batch of the projection has for it.
    pub(crate) async fn project(&self, span: Span, rows: Rows) -> Result<()> {
        self.store()?
            .write_rows(self.idle.since(span), rows)
            .await?;
        self.idle.told(span);
        Ok(())
    }

    /// A batch of the projection has nothing for it. It may be told so later.
    pub(crate) async fn pass(&self, span: Span) {
        let Some(idle) = self.idle.pass(span) else {
            return;
        };
        let told = match self.store() {
            Ok(store) => store.write_rows(idle, Rows::default()).await,
            Err(away) => Err(away),
        };
        match told {
            Ok(()) => self.idle.told(idle),
            Err(error) => tracing::debug!(%error, database = self.name, "a shard is told later"),
        }
    }

    /// Whether it answers. The first time that it does, its tables are brought up to date, in a
    /// task of its own: given up half-way, it would leave a transaction open.
    async fn prepare(&self) -> Result<()> {
        self.store.answers().await?;
        let _turn = self.preparing.lock().await;
        if self.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let store = self.store.clone();
        let migrated = tokio::spawn(async move { migrate::run(store.0.kind, &store.0.pool).await });
        migrated.await.map_err(|error| StoreError::Unavailable {
            doing: "bringing the tables of a shard up to date",
            reason: error.to_string(),
        })??;
        self.ready.store(true, Ordering::Release);
        Ok(())
    }
}

impl Store {
    /// Whether there is a database of this name.
    pub fn has_database(&self, name: &str) -> bool {
        name == MAIN || self.0.shards.by_name.contains_key(name)
    }

    /// Refuses to go on where a tenant has a database that is not configured, or one that is
    /// there and knows nothing of it.
    pub(crate) async fn check_shards(&self) -> Result<()> {
        const DOING: &str = "looking for the databases of all tenants";
        let mut tx = self.read(Access::Platform).await?;
        let rows = sqlx::query(
            "SELECT tenant_id, slug, shard, home FROM tenants WHERE tenant_id IN
                (SELECT MIN(tenant_id) FROM tenants WHERE shard <> '' AND state <> 'closed'
                 GROUP BY shard, home)",
        )
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
        tx.commit().await?;
        for row in rows {
            let id: String = row.try_get("tenant_id").doing(DOING)?;
            let row = Named::new("tenants", &id, &row);
            let (name, home): (String, String) = (row.get("shard")?, row.get("home")?);
            let slug: String = row.get("slug")?;
            let Some(shard) = self.0.shards.by_name.get(&name) else {
                return Err(StoreError::Config(format!(
                    "store.shards.urls has no database {name}, in which the tenant {slug} is"
                )));
            };
            let Ok(store) = shard.store() else { continue };
            if !home.is_empty() && !store.knows(row.parse("tenant_id")?).await? {
                return Err(StoreError::Config(format!(
                    "store.shards.urls, {name}: this is not the database in which the tenant {slug} is"
                )));
            }
        }
        Ok(())
    }
}
