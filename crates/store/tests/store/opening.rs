//! Opening: migrations that start together, and transactions that are given up.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::support::{NOW, Rig, authority, config, rig};
use laneway_store::{Store, StoreError};
use laneway_tenancy::DeviceId;
use laneway_testkit::{Database, embedded_only, wait};
use sqlx::{Connection, Executor, PgConnection, PgPool};

const BOUND: Duration = Duration::from_secs(20);

laneway_testkit::on_both_databases!(
    several_processes_migrate_together,
    a_store_opens_again_with_what_it_had,
    a_request_given_up_anywhere_leaves_no_transaction_open,
    the_store_says_whether_it_is_there,
);

async fn several_processes_migrate_together(database: Database) {
    let empty = database.empty().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let config = config(&empty.url, 2);
        tasks.spawn(async move { Store::open(&config).await.unwrap() });
    }
    let stores = tasks.join_all().await;
    for store in &stores {
        store.health().await.unwrap();
        assert_eq!(
            store.schemas().subjects(false).await.unwrap(),
            Vec::<String>::new()
        );
    }
}

/// A lock that outlived its attempt would keep every other process from starting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_to_migrate_that_failed_leaves_no_lock() {
    if embedded_only("a migration that fails once on PostgreSQL") {
        return;
    }
    let empty = Database::Postgres.empty().await.unwrap();
    let mut other = PgConnection::connect(&empty.url).await.unwrap();
    for statement in ["BEGIN", "CREATE TABLE tenants (x INT)"] {
        other.execute(statement).await.unwrap();
    }
    let config = config(&empty.url, 2);
    let first = tokio::spawn({
        let config = config.clone();
        async move { Store::open(&config).await }
    });
    let watcher = PgPool::connect(&empty.url).await.unwrap();
    wait::until("the migration to run into it", BOUND, || {
        let waiting = "SELECT 1 FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'transactionid'";
        let waiting = watcher.fetch_optional(waiting);
        async { waiting.await.unwrap().is_some() }
    })
    .await
    .unwrap();
    for statement in ["COMMIT", "DROP TABLE tenants"] {
        other.execute(statement).await.unwrap();
    }
    let first = first.await.unwrap().unwrap();
    let second = tokio::time::timeout(BOUND, Store::open(&config)).await;
    let second = second.expect("nobody holds the lock").unwrap();
    for store in [first, second] {
        store.health().await.unwrap();
    }
}

async fn a_store_opens_again_with_what_it_had(database: Database) {
    let rig = rig(database).await;
    let (_, scope) = rig.tenant("acme").await;
    let id: DeviceId = "truck".parse().unwrap();
    rig.store.devices(&scope).create(&id, NOW).await.unwrap();
    rig.store.close().await;
    let again = Store::open(&config(&rig.empty.url, 2)).await.unwrap();
    assert!(again.devices(&scope).find(&id).await.unwrap().is_some());
}

/// With one connection, a transaction that stayed open would swallow the next change: another
/// connection would not see it.
async fn a_request_given_up_anywhere_leaves_no_transaction_open(database: Database) {
    let first = rig(database).await;
    let (_, scope) = first.tenant("acme").await;
    let Rig {
        store: other,
        empty,
    } = first;
    let store = Store::open(&config(&empty.url, 1)).await.unwrap();
    for polls in 0..40 {
        {
            let devices = store.devices(&scope);
            let id: DeviceId = format!("given-up-{polls}").parse().unwrap();
            let mut given_up = pin!(devices.create(&id, NOW));
            for _ in 0..polls {
                let polled = given_up
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(result) = polled {
                    result.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let id: DeviceId = format!("kept-{polls}").parse().unwrap();
        store.devices(&scope).create(&id, NOW).await.unwrap();
        assert!(
            other.devices(&scope).find(&id).await.unwrap().is_some(),
            "given up after {polls} polls"
        );
    }
}

async fn the_store_says_whether_it_is_there(database: Database) {
    let rig = rig(database).await;
    rig.store.health().await.unwrap();
    rig.store.close().await;
    assert!(matches!(
        rig.store.health().await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn addresses_of_other_databases_are_refused() {
    for bad in ["mysql://x/y", "sqlite::memory:", "", "/var/lib/x.db"] {
        assert!(
            matches!(
                Store::open(&config(bad, 1)).await,
                Err(StoreError::Config(_))
            ),
            "{bad}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_from_the_instant_of_a_backup_until_its_copy_is_made() {
    let rig = rig(Database::Sqlite).await;
    let (_, scope) = rig.tenant("acme").await;
    let id: DeviceId = "truck".parse().unwrap();
    rig.store.devices(&scope).create(&id, NOW).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let (store, later) = (rig.store.clone(), scope.clone());
    let begun = rig
        .store
        .backup(&authority(), &to, folder.path(), || {
            tokio::spawn(async move {
                let id: DeviceId = "later".parse().unwrap();
                store.devices(&later).create(&id, NOW).await
            })
        })
        .await
        .unwrap();
    begun.await.unwrap().unwrap();
    let url = format!("sqlite:{}", to.display());
    let copy = Store::open(&config(&url, 1)).await.unwrap();
    let listed = |store: Store| async move {
        let devices = store.devices(&scope).list(None, 10).await.unwrap();
        devices
            .into_iter()
            .map(|d| d.id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed.clone()(copy).await, ["truck"]);
    assert_eq!(listed(rig.store).await, ["later", "truck"]);
}
