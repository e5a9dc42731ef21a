//! What only the embedded log promises: one process a folder, backups, exact compaction, and
//! going on after the disk was full.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use laneway_log::{
    Backend, EmbeddedConfig, KafkaConfig, Log, LogConfig, LogError, Records, Topic, TopicSetup,
    open,
};

fn config(path: &Path) -> LogConfig {
    LogConfig {
        backend: Backend::Embedded,
        topics: TopicSetup::Create,
        topic_prefix: String::new(),
        topic_sets: Vec::new(),
        partitions: 4,
        retention_seconds: 3600,
        retention_bytes: 0,
        max_record_bytes: 1 << 20,
        max_queued_bytes: 32 << 20,
        session_timeout_ms: 6_000,
        embedded: EmbeddedConfig {
            path: path.to_owned(),
            min_free_bytes: 1 << 20,
            cache_bytes: 16 << 20,
        },
        kafka: KafkaConfig::plaintext(""),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[expect(
    clippy::disallowed_methods,
    reason = "brokers and retention go by the real clock"
)]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    since
        .as_millis()
        .try_into()
        .expect("before the year 292 million")
}

fn one(topic: Topic, key: &str, value: &[u8]) -> Records {
    let mut records = Records::new();
    records.push(topic, 0, now_ms(), key.as_bytes(), [], value);
    records
}

/// (offset, key, value) of all records of partition 0.
async fn all(log: &Arc<dyn Log>, topic: Topic) -> Vec<(u64, String, Option<Vec<u8>>)> {
    let bounds = log.bounds(topic, 0).await.expect("bounds");
    let mut reader = log
        .reader(topic, vec![(0, bounds.earliest)])
        .await
        .expect("a reader");
    let mut all = Vec::new();
    loop {
        let batch = tokio::time::timeout(Duration::from_secs(30), reader.next())
            .await
            .expect("a batch soon");
        let batch = batch.expect("reading");
        all.extend(batch.iter().map(|r| {
            let key = String::from_utf8_lossy(r.key).into_owned();
            (r.offset, key, r.value.map(<[u8]>::to_vec))
        }));
        if batch.is_empty() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_in_use_is_refused_by_name() {
    let folder = folder();
    let log = open(&config(folder.path())).await.expect("opening");
    let second = open(&config(folder.path()))
        .await
        .map(|_| ())
        .expect_err("it is in use");
    let text = second.to_string();
    assert!(
        text.contains(folder.path().to_str().expect("UTF-8")),
        "{text}"
    );
    assert!(text.contains("another laneway process"), "{text}");
    drop(log);
    open(&config(folder.path())).await.expect("free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_log_is_a_log() {
    let (folder, to) = (folder(), folder());
    let log = open(&config(folder.path())).await.expect("opening");
    log.append(one(Topic::LocationUpdates, "a", b"1"))
        .await
        .expect("appending");
    log.append(one(Topic::TenantEvents, "t", b"2"))
        .await
        .expect("appending");
    let backup = log.backup(to.path().join("copy"));
    // It is of the moment of the call.
    log.append(one(Topic::LocationUpdates, "b", b"3"))
        .await
        .expect("appending");
    backup.await.expect("backing up");
    let again = log
        .backup(to.path().join("copy"))
        .await
        .expect_err("there is a log already");
    assert!(again.to_string().contains("empty folder"), "{again}");
    let mut verify = config(&to.path().join("copy"));
    verify.topics = TopicSetup::Verify;
    let copy = open(&verify).await.expect("opening the copy");
    assert_eq!(
        all(&copy, Topic::LocationUpdates).await,
        [(0, "a".into(), Some(b"1".to_vec()))]
    );
    assert_eq!(
        all(&copy, Topic::TenantEvents).await,
        [(0, "t".into(), Some(b"2".to_vec()))]
    );
    assert_eq!(
        copy.bounds(Topic::LocationUpdates, 0)
            .await
            .expect("bounds")
            .end,
        1
    );
    assert_eq!(all(&log, Topic::LocationUpdates).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_is_never_behind_and_old_tombstones_go() {
    let folder = folder();
    let log = open(&config(folder.path())).await.expect("opening");
    for n in 0..30 {
        let value = n.to_string();
        log.append(one(
            Topic::SinkCursors,
            ["x", "y", "z"][n % 3],
            value.as_bytes(),
        ))
        .await
        .expect("appending");
    }
    let mut gone = Records::new();
    gone.push_tombstone(Topic::SinkCursors, 0, now_ms(), b"x");
    gone.push_tombstone(Topic::SinkCursors, 0, now_ms() - 2 * 3_600_000, b"y");
    gone.push_tombstone(Topic::SinkCursors, 0, now_ms() - 2 * 3_600_000, b"z");
    log.append(gone).await.expect("appending");
    // A value that came after an old tombstone has to stay.
    log.append(one(Topic::SinkCursors, "z", b"new"))
        .await
        .expect("appending");
    let expected = [
        (30, "x".to_owned(), None),
        (33, "z".to_owned(), Some(b"new".to_vec())),
    ];
    let started = Instant::now();
    while all(&log, Topic::SinkCursors).await != expected {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            all(&log, Topic::SinkCursors).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(log);
    let log = open(&config(folder.path())).await.expect("opening again");
    assert_eq!(all(&log, Topic::SinkCursors).await, expected);
    let bounds = log.bounds(Topic::SinkCursors, 0).await.expect("bounds");
    assert_eq!((bounds.earliest, bounds.end), (0, 34));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_free_space_is_full_and_moving_on_is_still_possible() {
    let folder = folder();
    let log = open(&config(folder.path())).await.expect("opening");
    log.append(one(Topic::LocationUpdates, "a", b"1"))
        .await
        .expect("appending");
    drop(log);
    let mut reserved = config(folder.path());
    reserved.embedded.min_free_bytes = u64::MAX;
    let log = open(&reserved).await.expect("opening");
    let full = log
        .append(one(Topic::LocationUpdates, "b", b"2"))
        .await
        .expect_err("no space");
    assert!(
        matches!(&full, LogError::Full { path, .. } if Path::new(path) == folder.path()),
        "{full}"
    );
    assert!(matches!(log.health(), Err(LogError::Full { .. })));
    assert_eq!(
        all(&log, Topic::LocationUpdates).await.len(),
        1,
        "what was kept stays readable"
    );
}

const CHILD: &str = "LANEWAY_FULL_DISK_FOLDER";

/// A file size limit makes the database's writes fail as on a full disk. The limit is a
/// process's, so a child process has it; the shell makes it ignore the signal that comes with it.
#[test]
fn a_disk_that_is_full_in_the_middle_loses_nothing() {
    let folder = folder();
    let binary = std::env::current_exe().expect("the path of the test binary");
    let script = r#"trap "" XFSZ; ulimit -S -f 16384; exec "$0" --exact full_disk_child --ignored --nocapture"#;
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(binary)
        .env(CHILD, folder.path())
        .output()
        .expect("running a child process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("went on"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a child process with a file size limit"]
async fn full_disk_child() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let log = open(&config(Path::new(&path))).await.expect("opening");
    let value = vec![b'v'; 100_000];
    let mut confirmed = 0u64;
    let full = loop {
        match log
            .append(one(Topic::LocationUpdates, &confirmed.to_string(), &value))
            .await
        {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
        assert!(confirmed < 1_000, "the limit has not been met");
    };
    assert!(matches!(full, LogError::Full { .. }), "{full}");
    assert!(confirmed > 10, "{confirmed} were confirmed");
    assert!(log.health().is_err());
    let keys = async |log: &Arc<dyn Log>| -> Vec<String> {
        all(log, Topic::LocationUpdates)
            .await
            .into_iter()
            .map(|(_, key, _)| key)
            .collect()
    };
    let expected: Vec<_> = (0..confirmed).map(|n| n.to_string()).collect();
    assert_eq!(keys(&log).await, expected, "while the disk is full");
    // Still full, more than once.
    for _ in 0..3 {
        let again = log
            .append(one(Topic::LocationUpdates, "no", &vec![b'v'; 900_000]))
            .await;
        assert!(matches!(again, Err(LogError::Full { .. })), "{again:?}");
    }
    // Then there is space again.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    let lifted = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, lifted)
        .expect("lifting the limit");
    let started = Instant::now();
    while let Err(error) = log
        .append(one(Topic::LocationUpdates, "after", &value))
        .await
    {
        assert!(
            error.is_transient() && started.elapsed() < Duration::from_secs(30),
            "{error}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut expected = expected;
    expected.push("after".into());
    assert_eq!(keys(&log).await, expected);
    assert!(log.health().is_ok());
    drop(log);
    let log = open(&config(Path::new(&path)))
        .await
        .expect("opening again");
    assert_eq!(keys(&log).await, expected);
    println!("went on");
}

#[tokio::test]
async fn topic_sets_keep_their_places() {
    let folder = folder();
    let with = |sets: &[&str]| LogConfig {
        topic_sets: sets.iter().map(|s| (*s).to_owned()).collect(),
        ..config(folder.path())
    };
    for sets in [&["bank"][..], &["bank", "rail"]] {
        open(&with(sets)).await.expect("opening").close().await;
    }
    for sets in [&["bank"][..], &[], &["rail", "bank"]] {
        match open(&with(sets)).await.map(|_| ()) {
            Err(LogError::Config(reason)) => {
                assert!(reason.contains("log.topic_sets"), "{reason}");
                assert!(reason.contains("bank,rail"), "{reason}");
            }
            other => panic!("{sets:?}: {other:?}"),
        }
    }
}
