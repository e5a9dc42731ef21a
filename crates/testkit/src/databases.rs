//! Empty databases: SQLite in a folder of its own, and one on the shared PostgreSQL.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use tempfile::TempDir;

use crate::Postgres;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Has no tables yet. The folder is removed when this is dropped.
#[derive(Debug)]
pub struct EmptyDatabase {
    pub url: String,
    _folder: Option<TempDir>,
}

impl Database {
    pub async fn empty(self) -> Result<EmptyDatabase> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        match self {
            Database::Sqlite => {
                let folder = tempfile::tempdir()?;
                Ok(EmptyDatabase {
                    url: format!("sqlite:{}", folder.path().join("store.db").display()),
                    _folder: Some(folder),
                })
            }
            Database::Postgres => {
                let count = COUNT.fetch_add(1, Ordering::SeqCst);
                let name = format!("test_{}_{count}", std::process::id());
                Ok(EmptyDatabase {
                    url: Postgres::shared().await?.create_database(&name).await?,
                    _folder: None,
                })
            }
        }
    }

    /// One for each name, and their URLs by name.
    pub async fn named<const N: usize>(
        self,
        names: [&str; N],
    ) -> Result<(BTreeMap<String, String>, [EmptyDatabase; N])> {
        let (mut urls, mut all) = (BTreeMap::new(), Vec::with_capacity(N));
        for name in names {
            let one = self.empty().await?;
            urls.insert(name.to_owned(), one.url.clone());
            all.push(one);
        }
        Ok((urls, all.try_into().expect("one for each name")))
    }
}

/// Runs the same tests, `async fn(Database)`, on both databases.
#[macro_export]
macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::Database::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if $crate::embedded_only(concat!(module_path!(), " on PostgreSQL")) {
                    return;
                }
                super::$test($crate::Database::Postgres).await;
            })*
        }
    };
}
