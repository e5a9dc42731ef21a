//! Nobody learns from how long an answer takes whether there is a tenant of some name.
//!
//! A program of its own: other tests beside it would be all that it measures.

#[path = "../api/support.rs"]
#[expect(
    dead_code,
    reason = "made for the tests of the API, which need more of it"
)]
mod support;

use std::time::{Duration, Instant};

use laneway_tenancy::{Random, SystemRandom};
use laneway_testkit::{Database, embedded_only};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use support::{Rig, rig_with};

/// Requests of one comparison, half of them for each name.
const TRIES: usize = 10_000;
/// Connections that they are sent over at once: each answer is held back for a while.
const ASKERS: usize = 10;
/// A comparison is repeated so often before what it says is believed.
const ROUNDS: usize = 3;
/// Beyond which Welch's t says that two names are answered in different times. By chance alone it
/// is passed once in a million times.
const BOUND: f64 = 5.0;
/// A difference that has to be noticed.
const LEAK: Duration = Duration::from_micros(100);

/// A connection that is kept: opening one takes longer than what is measured.
struct Asker {
    stream: TcpStream,
    key: String,
}

impl Asker {
    async fn new(rig: &Rig, key: &str) -> Self {
        let stream = TcpStream::connect(rig.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Asker {
            stream,
            key: key.to_owned(),
        }
    }

    /// How long a refusal takes, in microseconds, and what it is; `later` is waited beyond it.
    async fn refusal(&mut self, path: &str, later: Duration) -> (f64, String) {
        let key = &self.key;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {key}\r\n\r\n");
        let mut answer = [0; 4096];
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut read = 0;
        while !is_whole(&answer[..read]) {
            let more = self.stream.read(&mut answer[read..]).await.unwrap();
            assert!(more > 0, "the connection was closed");
            read += more;
        }
        let end = begun.elapsed() + later;
        while begun.elapsed() < end {
            std::hint::spin_loop();
        }
        let took = begun.elapsed();
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(text.starts_with("HTTP/1.1 403"), "{text}");
        (took.as_secs_f64() * 1e6, text)
    }
}

/// Whether an answer with a short body of JSON has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(b"}") && answer.windows(4).any(|four| four == b"\r\n\r\n")
}

/// Without the slowest twentieth: those were held up by something else.
fn trimmed(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times.truncate(times.len() * 19 / 20);
    times
}

fn mean_and_error(times: &[f64]) -> (f64, f64) {
    let n = times.len() as f64;
    let mean = times.iter().sum::<f64>() / n;
    let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance / n)
}

/// The times that two paths are answered in, asked for in random order, where the second is
/// answered `later`.
async fn times(
    mut asker: Asker,
    paths: [&'static str; 2],
    later: Duration,
) -> (Asker, [Vec<f64>; 2]) {
    let mut times = [Vec::new(), Vec::new()];
    let mut coins = vec![0u8; TRIES / ASKERS];
    SystemRandom.fill(&mut coins);
    for coin in coins {
        let which = usize::from(coin % 2);
        let later = if which == 1 { later } else { Duration::ZERO };
        times[which].push(asker.refusal(paths[which], later).await.0);
    }
    (asker, times)
}

/// Welch's t of the times that two paths are answered in, where the second is answered `later`.
async fn difference(askers: &mut Vec<Asker>, paths: [&'static str; 2], later: Duration) -> f64 {
    let mut asking = JoinSet::new();
    for asker in askers.drain(..) {
        asking.spawn(times(asker, paths, later));
    }
    let mut all = [Vec::new(), Vec::new()];
    while let Some(asked) = asking.join_next().await {
        let (asker, [first, second]) = asked.unwrap();
        askers.push(asker);
        all[0].extend(first);
        all[1].extend(second);
    }
    let [first, second] = all.map(trimmed);
    let ((a, error_a), (b, error_b)) = (mean_and_error(&first), mean_and_error(&second));
    let t = (b - a) / (error_a + error_b).sqrt();
    println!("{paths:?}: {a:.1} and {b:.1} us, t = {t:.1}");
    t.abs()
}

/// What of an answer is the same at any time.
fn shape(answer: &str) -> (Vec<&str>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let names = head.lines().map(|line| line.split(':').next().unwrap());
    (names.collect(), body)
}

const FORMS: [[&str; 2]; 2] = [
    ["/tenants/south-shop", "/tenants/other-shop"],
    ["/t/south-shop/tenant", "/t/other-shop/tenant"],
];

/// Those who ask for a sibling, and for nobody: all with the key of one tenant.
async fn askers(rig: &Rig) -> Vec<Asker> {
    let acme = rig.acme().await;
    let key = rig.below("acme", &acme, "north-shop").await;
    rig.below("acme", &acme, "south-shop").await;
    for sibling in ["north-shop", "south-shop"] {
        rig.heard(sibling, |_| true).await;
    }
    let mut askers = Vec::new();
    for _ in 0..ASKERS {
        askers.push(Asker::new(rig, &key).await);
    }
    askers
}

async fn cannot_be_told_apart(askers: &mut Vec<Asker>, paths: [&'static str; 2]) {
    let answers = [
        askers[0].refusal(paths[0], Duration::ZERO).await.1,
        askers[0].refusal(paths[1], Duration::ZERO).await.1,
    ];
    assert_eq!(shape(&answers[0]), shape(&answers[1]));
    let mut told = Vec::new();
    for _ in 0..ROUNDS {
        told.push(difference(askers, paths, Duration::ZERO).await);
        if told.last().is_some_and(|t| *t < BOUND) {
            return;
        }
    }
    panic!("{paths:?}: {told:?}");
}

/// What is looked for would be found.
async fn is_noticed(askers: &mut Vec<Asker>, paths: [&'static str; 2]) {
    for _ in 0..ROUNDS {
        if difference(askers, paths, LEAK).await >= BOUND {
            return;
        }
    }
    panic!("a difference of {LEAK:?} is not noticed");
}

/// One database after the other: they would be all that is measured of each other.
#[tokio::test(flavor = "multi_thread")]
async fn siblings_and_strangers_cannot_tell_one_another_from_nobody_by_the_time_of_an_answer() {
    for database in [Database::Sqlite, Database::Postgres] {
        if database == Database::Postgres && embedded_only("how long PostgreSQL takes") {
            return;
        }
        let rig = rig_with(database, |settings| {
            settings.key_requests_per_second = 0;
            settings.address_requests_per_second = 0;
        })
        .await;
        let mut askers = askers(&rig).await;
        for paths in FORMS {
            cannot_be_told_apart(&mut askers, paths).await;
        }
        if database == Database::Sqlite {
            is_noticed(&mut askers, FORMS[0]).await;
        }
    }
}
