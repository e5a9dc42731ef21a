//! One tenant does not take the pool from the others, and slow queries are told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use laneway_store::{ShardConfig, Store, StoreConfig};
use laneway_testkit::Database;
use laneway_testkit::wait::until;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;

use crate::support::{NOW, Rig, config, device, rig};

async fn rig_on_postgres() -> Option<Rig> {
    if laneway_testkit::servers::embedded_only("shares of the pool") {
        return None;
    }
    Some(rig(Database::Postgres).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_queries_hang_holds_half_of_the_pool_and_others_go_on() {
    let Some(rig) = rig_on_postgres().await else {
        return;
    };
    let (mine, my_scope) = rig.tenant("mine").await;
    let (_, their_scope) = rig.tenant("theirs").await;
    // Whoever changes the tenant waits for this one.
    let mut holder = PgConnection::connect(&rig.empty.url).await.unwrap();
    let mut tx = holder.begin().await.unwrap();
    let hold = format!(
        "SELECT set_config('role', 'laneway_app', true), set_config('laneway.tenant', '{}', true)",
        mine.id
    );
    tx.execute(sqlx::AssertSqlSafe(hold)).await.unwrap();
    let held = tx.fetch_all("SELECT 1 FROM tenants FOR UPDATE").await;
    assert_eq!(held.unwrap().len(), 1);
    let mut flood = Vec::new();
    for n in 0..40 {
        let (store, scope) = (rig.store.clone(), my_scope.clone());
        flood.push(tokio::spawn(async move {
            let id = device(&format!("truck-{n}"));
            store.devices(&scope).create(&id, NOW).await
        }));
    }
    let mut watcher = PgConnection::connect(&rig.empty.url).await.unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let watcher = Arc::new(tokio::sync::Mutex::new(&mut watcher));
    until("the flood to hang", Duration::from_secs(20), || async {
        let mut watcher = watcher.lock().await;
        let row = watcher.fetch_one(waiting).await.unwrap();
        row.get::<i64, _>(0) == 2
    })
    .await
    .unwrap();
    let begun = Instant::now();
    for n in 0..50 {
        let devices = rig.store.devices(&their_scope);
        let id = device(&format!("truck-{n}"));
        devices.create(&id, NOW).await.unwrap();
        assert!(devices.find(&id).await.unwrap().is_some());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let row = watcher.lock().await.fetch_one(waiting).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 2, "it holds half of four");
    // Some give up waiting; that takes nothing from those who stay.
    for given_up in flood.drain(20..) {
        given_up.abort();
    }
    tx.rollback().await.unwrap();
    for created in flood {
        created.await.unwrap().unwrap();
    }
}

/// What was logged, one line an event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn listen(&self) -> DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_slow_query_is_logged_with_its_tenant_and_what_it_was_for_and_no_values() {
    let Some(rig) = rig_on_postgres().await else {
        return;
    };
    let (mine, scope) = rig.tenant("mine").await;
    let watched = StoreConfig {
        slow_query_ms: 50,
        shards: ShardConfig::default(),
        ..config(&rig.empty.url, 4)
    };
    let store = Store::open(&watched).await.unwrap();
    let lines = Lines::default();
    let _listening = lines.listen();
    let mut holder = PgConnection::connect(&rig.empty.url).await.unwrap();
    let mut tx = holder.begin().await.unwrap();
    tx.execute("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let creating = async {
        let devices = store.devices(&scope);
        devices.create(&device("hunter2"), NOW).await.unwrap();
    };
    let letting_go = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tx.rollback().await.unwrap();
    };
    tokio::join!(creating, letting_go);
    let slow: Vec<String> = lines
        .all()
        .into_iter()
        .filter(|l| l.contains("a query was slow"))
        .collect();
    let told = slow
        .iter()
        .any(|line| line.contains(&mine.id.to_string()) && line.contains("looking for devices"));
    assert!(told, "{slow:?}");
    assert!(!slow.concat().contains("hunter2"), "{slow:?}");
}
