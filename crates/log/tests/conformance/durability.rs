//! What was confirmed is there, whoever is killed.

use std::collections::HashMap;
use std::sync::Arc;

use laneway_log::{Log, Topic};

use super::child::Child;
use super::support::{append_numbers, eventually, numbered, read_numbers};
use super::{Backend, PARTITIONS};

pub async fn closing_and_opening_again_loses_nothing<B: Backend>() {
    let backend = B::fresh("reopen").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..100).await;
    let before = log.bounds(Topic::LocationUpdates, 0).await.expect("bounds");
    log.close().await;
    let log = backend.open().await;
    assert_eq!(
        log.bounds(Topic::LocationUpdates, 0).await.expect("bounds"),
        before
    );
    append_numbers(&log, Topic::LocationUpdates, 0, 100..120).await;
    assert_eq!(
        read_numbers(&log, Topic::LocationUpdates, 0).await,
        (0..120).collect::<Vec<_>>()
    );
    log.close().await;
}

/// Every confirmed number is there once, in order; the others, each written once, at most once.
async fn check(log: &Arc<dyn Log>, confirmed: &[u64]) {
    let mut found: HashMap<u64, usize> = HashMap::new();
    for partition in 0..PARTITIONS {
        let all = read_numbers(log, Topic::LocationUpdates, partition).await;
        assert!(
            all.is_sorted(),
            "the order of partition {partition} is kept"
        );
        for n in all {
            *found.entry(n).or_default() += 1;
        }
    }
    for n in confirmed {
        assert_eq!(found.get(n), Some(&1), "{n} was confirmed");
    }
    assert!(
        found.values().all(|times| *times == 1),
        "nothing is there twice"
    );
}

pub async fn what_was_confirmed_survives_kills_of_the_client<B: Backend>() {
    let backend = B::fresh("killclient").await;
    // Made before, so that the first child does not spend its time on topics.
    backend.open().await.close().await;
    let mut confirmed = Vec::new();
    // After how many confirmations each child is killed.
    for (round, patience) in (0..).zip([1, 37, 5, 120, 64]) {
        let mut child = Child::start(&backend, "append", round * 1_000_000);
        for _ in 0..patience {
            let line = child
                .line()
                .await
                .expect("the child goes on until it is killed");
            confirmed.push(line.parse().expect("a number"));
        }
        let rest = child.kill().await;
        confirmed.extend(rest.iter().filter_map(|line| line.parse::<u64>().ok()));
    }
    let log = backend.open().await;
    check(&log, &confirmed).await;
    log.close().await;
}

pub async fn what_was_confirmed_survives_kills_of_the_server<B: Backend>() {
    let backend = B::fresh("killserver").await;
    let log = backend.open().await;
    let mut confirmed = Vec::new();
    let mut number = 0;
    for _ in 0..2 {
        for _ in 0..50 {
            append_numbers(&log, Topic::LocationUpdates, 0, number..number + 1).await;
            confirmed.push(number);
            number += 1;
        }
        // On their way while the server goes down: they may be there or not.
        let flying: Vec<_> = (0..50)
            .map(|n| log.append(numbered(Topic::LocationUpdates, 0, [number + n])))
            .collect();
        if !backend.kill_server().await {
            break;
        }
        for (n, append) in (number..).zip(flying) {
            if append.await.is_ok() {
                confirmed.push(n);
            }
        }
        number += 50;
        eventually("the log to take records again", async || {
            log.append(numbered(Topic::LocationUpdates, 1, [number]))
                .await
                .ok()
        })
        .await;
    }
    let mut found: HashMap<u64, usize> = HashMap::new();
    for n in read_numbers(&log, Topic::LocationUpdates, 0).await {
        *found.entry(n).or_default() += 1;
    }
    for n in &confirmed {
        assert_eq!(found.get(n), Some(&1), "{n} was confirmed");
    }
    log.close().await;
}
