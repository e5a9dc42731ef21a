//! Migrations. They only expand, so that an older node goes on beside a newer one.

use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Connection, SqlStr};

use crate::error::{Doing, Result, StoreError};
use crate::open::Kind;

const ATTEMPTS: u32 = 5;

/// The files of a folder by their names, in order. sqlx's own macro would have all of sqlx, SQLite
/// and its TLS compiled a second time, for the compiler.
macro_rules! files {
    ($folder:literal) => {
        files!(
            $folder:
            "0001_first",
            "0002_registry",
            "0003_families",
            "0004_devices",
            "0005_hosts",
            "0006_audit",
            "0007_usage",
            "0008_closures",
            "0009_service_accounts",
            "0010_grants",
            "0011_shards",
            "0012_sockets",
            "0013_topic_sets",
            "0014_erasures",
            "0015_homes",
            "0016_schema_references",
        )
    };
    ($folder:literal: $($name:literal,)+) => {
        &[$((
            $name,
            include_str!(concat!("../migrations/", $folder, "/", $name, ".sql")),
        ),)+]
    };
}

/// Files by name: a version, `_`, and what it is about.
const SQLITE: &[(&str, &str)] = files!("sqlite");
const POSTGRES: &[(&str, &str)] = files!("postgres");

fn migrations(kind: Kind) -> Migrator {
    let files = match kind {
        Kind::Sqlite => SQLITE,
        Kind::Postgres => POSTGRES,
    };
    let migrations = files.iter().filter_map(|(name, sql)| {
        let (version, about) = name.split_once('_')?;
        let about = about.replace('_', " ").into();
        let (simple, sql) = (MigrationType::Simple, SqlStr::from_static(sql));
        Some(Migration::new(
            version.parse().ok()?,
            about,
            simple,
            sql,
            false,
        ))
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing, once, however many processes start together: PostgreSQL by an
/// advisory lock of the session, SQLite by its write lock around all of it.
pub(crate) async fn run(kind: Kind, pool: &AnyPool) -> Result<()> {
    let mut attempt = 1;
    loop {
        match once(kind, pool).await {
            Ok(()) => return Ok(()),
            // Roles belong to the whole PostgreSQL cluster, out of the lock's reach; and SQLite
            // may be busy with turning on its write-ahead log. Both pass.
            Err(error) if attempt < ATTEMPTS => {
                tracing::info!(%error, attempt, "migrating the store did not succeed yet; trying again");
                tokio::time::sleep(Duration::from_millis(u64::from(100 * attempt))).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn once(kind: Kind, pool: &AnyPool) -> Result<()> {
    let mut migrator = migrations(kind);
    let failed = |e: sqlx::migrate::MigrateError| StoreError::Migration(e.to_string());
    match kind {
        Kind::Postgres => {
            // Of its own, and closed after: where an attempt fails, the lock goes with it. A
            // connection that went back to the pool would keep it from every other process.
            let taken = pool.acquire().await;
            let mut connection = taken.doing("connecting for migrations")?.detach();
            let migrated = migrator.run_direct(None, &mut connection, false).await;
            let closed = connection.close().await;
            migrated.map_err(failed)?;
            closed.doing("closing the connection of migrations")
        }
        Kind::Sqlite => {
            migrator.set_locking(false);
            let mut tx = pool
                .begin_with("BEGIN IMMEDIATE")
                .await
                .doing("locking the database for migrations")?;
            migrator
                .run_direct(None, &mut *tx, false)
                .await
                .map_err(failed)?;
            tx.commit().await.doing("committing the migrations")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folders_is_a_migration() {
        for (kind, folder, files) in [
            (Kind::Sqlite, "sqlite", SQLITE),
            (Kind::Postgres, "postgres", POSTGRES),
        ] {
            let folder = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let there = std::fs::read_dir(folder).unwrap();
            let mut there: Vec<String> = there
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            there.sort();
            let named: Vec<String> = files
                .iter()
                .map(|(name, _)| format!("{name}.sql"))
                .collect();
            assert_eq!(there, named);
            let versions: Vec<i64> = migrations(kind).iter().map(|m| m.version).collect();
            let expected: Vec<i64> = (1..=files.len() as i64).collect();
            assert_eq!(versions, expected);
        }
    }
}
