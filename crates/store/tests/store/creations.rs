//! Creations over two databases: wherever the process ends, there is a whole tenant or none.

use std::process::Command;

use laneway_store::{CreationStep, First, NewTenant, ShardConfig, Store, StoreConfig, StoreError};
use laneway_tenancy::control::Limits;
use laneway_tenancy::{Grant, Grants, HostPattern, KeyId};
use laneway_testkit::Database;

use crate::support::{
    NOW, ShardedRig, authority, config, new_in, new_key, operator, rows, sharded,
};

laneway_testkit::on_both_databases!(
    a_process_that_is_killed_after_any_step_leaves_a_tenant_or_nothing,
    a_creation_that_somebody_undid_is_not_activated,
    what_was_given_to_a_tenant_that_is_not_to_be_is_given_back,
    a_slug_that_is_being_given_is_nobody_elses,
    of_two_that_want_a_database_alone_one_gets_it,
);

/// Longer than a creation takes.
const LATER: i64 = NOW + 3600 * 1_000_000;
/// The step after which a process is killed, and the databases, for the process that is.
const STEP: &str = "LANEWAY_TEST_CREATION_STEP";
const MAIN: &str = "LANEWAY_TEST_CREATION_MAIN";
const BANK: &str = "LANEWAY_TEST_CREATION_BANK";

fn killed_here(step: CreationStep) {
    if std::env::var(STEP).is_ok_and(|at| at == format!("{step:?}")) {
        std::process::abort();
    }
}

/// Only a process that is started for it does anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let (Ok(main), Ok(bank)) = (std::env::var(MAIN), std::env::var(BANK)) else {
        return;
    };
    let config = StoreConfig {
        shards: ShardConfig {
            urls: [("bank".to_owned(), bank)].into(),
            dedicated: ["bank".to_owned()].into(),
            ..ShardConfig::default()
        },
        ..config(&main, 2)
    };
    let store = Store::open(&config).await.unwrap();
    let hosts = [laneway_store::NewHost {
        host: "fleet.example.com".parse::<HostPattern>().unwrap(),
        token: "proof".to_owned(),
    }];
    let first = First {
        owner: Some(new_key(
            KeyId::from_u128(7),
            Grants::of([Grant::TenantRead]),
            [9; 32],
        )),
        hosts: &hosts,
        after: Some(killed_here),
    };
    let operator = operator();
    let tenants = store.tenants(&operator);
    let created = tenants.create_with(new_in("acme", "bank"), first, NOW);
    created.await.unwrap();
}

fn kill_after(step: CreationStep, rig: &ShardedRig) {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "creations::the_process_that_is_killed"])
        .env(STEP, format!("{step:?}"))
        .env(MAIN, &rig.main.url)
        .env(BANK, &rig.bank.url)
        .output()
        .unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
    assert_eq!(signal, Some(6), "{step:?}: {ended:?}");
}

async fn undo_interrupted(store: &Store) -> usize {
    let authority = authority();
    let creations = store.creations(&authority);
    assert_eq!(
        creations.interrupted(NOW, 9).await.unwrap(),
        [],
        "one that has just begun may still be at work"
    );
    let interrupted = creations.interrupted(LATER, 9).await.unwrap();
    for tenant in &interrupted {
        creations.undo(*tenant).await.unwrap();
        creations.undo(*tenant).await.unwrap();
    }
    interrupted.len()
}

async fn a_process_that_is_killed_after_any_step_leaves_a_tenant_or_nothing(database: Database) {
    let of_main = ["tenants", "slugs", "secret_homes"];
    let of_bank = ["tenants", "slugs", "api_keys", "hosts", "outbox"];
    for step in CreationStep::ALL {
        let rig = sharded(database).await;
        kill_after(step, &rig);
        let whole = step == CreationStep::Activated;
        let operator = operator();
        let found = rig.store.tenants(&operator).by_slug("acme").await.unwrap();
        assert_eq!(found.is_some(), whole, "{step:?}");
        assert_eq!(
            undo_interrupted(&rig.store).await,
            usize::from(!whole),
            "{step:?}"
        );
        for (empty, tables) in [(&rig.main, &of_main[..]), (&rig.bank, &of_bank)] {
            for table in tables {
                assert_eq!(rows(empty, table).await > 0, whole, "{step:?}: {table}");
            }
        }
        // A trail is never taken back: it says that the tenant was made, and that it is gone.
        let said = match step {
            CreationStep::Activated => 1,
            CreationStep::Made => 2,
            _ => 0,
        };
        assert_eq!(rows(&rig.bank, "audit_entries").await, said, "{step:?}");
        assert_eq!(rows(&rig.main, "audit_entries").await, 0, "{step:?}");
        assert_eq!(rows(&rig.main, "creations").await, 0, "{step:?}");
        assert_eq!(
            rows(&rig.bank, "shard_tenants").await,
            i64::from(whole),
            "{step:?}"
        );
        let again = rig
            .store
            .tenants(&operator)
            .create(new_in("acme", "bank"), NOW)
            .await;
        assert_eq!(again.is_ok(), !whole, "{step:?}: {again:?}");
    }
}

/// As when the worker of another node finds that it takes too long.
fn undone_meanwhile(step: CreationStep) {
    if step == CreationStep::Placed {
        undo_now();
    }
}

fn undone_once_made(step: CreationStep) {
    if step == CreationStep::Made {
        undo_now();
    }
}

fn undo_now() {
    let undone = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let store = UNDOER.with(|store| store.borrow().clone());
            undo_interrupted(&store.unwrap()).await
        })
    });
    assert_eq!(undone, 1);
}

thread_local! {
    static UNDOER: std::cell::RefCell<Option<Store>> = const { std::cell::RefCell::new(None) };
}

async fn a_creation_that_somebody_undid_is_not_activated(database: Database) {
    let rig = sharded(database).await;
    let first = First {
        after: Some(undone_meanwhile),
        ..First::default()
    };
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    let other = Store::open(&rig.config).await.unwrap();
    let creation = tenants.create_with(new_in("acme", "bank"), first, NOW);
    UNDOER.with(|undoer| *undoer.borrow_mut() = Some(other));
    let refused = creation.await;
    assert!(refused.unwrap_err().is_transient());
    assert_eq!(tenants.by_slug("acme").await.unwrap(), None);
    assert_eq!(rows(&rig.bank, "shard_tenants").await, 0);
    rig.tenant("acme", "bank").await;
}

async fn what_was_given_to_a_tenant_that_is_not_to_be_is_given_back(database: Database) {
    let rig = sharded(database).await;
    let (acme, scope) = rig.tenant("acme", "eu").await;
    let devices = |devices| Limits {
        devices,
        ..Limits::default()
    };
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    tenants.set_limits(acme.id, devices(10), NOW).await.unwrap();
    let left = async || {
        let found = tenants.find(acme.id).await.unwrap().unwrap();
        found.body.limits.devices
    };
    let below = |slug| NewTenant {
        limits: devices(4),
        database: None,
        ..new_in(slug, "eu")
    };
    let first = First {
        after: Some(undone_once_made),
        ..First::default()
    };
    let other = Store::open(&rig.config).await.unwrap();
    UNDOER.with(|undoer| *undoer.borrow_mut() = Some(other));
    let family = rig.store.family(&scope);
    let refused = family.create_with(below("branch"), first, NOW).await;
    assert!(refused.unwrap_err().is_transient());
    assert_eq!(left().await, 10);
    family.create(below("branch"), NOW).await.unwrap();
    assert_eq!(left().await, 6);
}

async fn a_slug_that_is_being_given_is_nobody_elses(database: Database) {
    let rig = sharded(database).await;
    kill_after(CreationStep::Reserved, &rig);
    let operator = operator();
    let tenants = rig.store.tenants(&operator);
    for place in ["eu", "main"] {
        // One that looks like it, too.
        let taken = tenants.create(new_in("acrne", place), NOW).await;
        assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
    }
    undo_interrupted(&rig.store).await;
    rig.tenant("acrne", "main").await;
    let taken = tenants.create(new_in("acme", "eu"), NOW).await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
}

async fn of_two_that_want_a_database_alone_one_gets_it(database: Database) {
    let rig = sharded(database).await;
    let create = |slug: &'static str| {
        let store = rig.store.clone();
        tokio::spawn(async move {
            let operator = operator();
            let tenants = store.tenants(&operator);
            tenants.create(new_in(slug, "bank"), NOW).await.is_ok()
        })
    };
    let (one, two) = (create("one"), create("two"));
    let made = [one.await.unwrap(), two.await.unwrap()];
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    assert_eq!(rows(&rig.bank, "shard_tenants").await, 1);
    assert_eq!(rows(&rig.main, "creations").await, 0);
}
