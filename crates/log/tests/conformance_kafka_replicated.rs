//! The conformance suite on three Kafka brokers: replication factor 3, two in sync.

mod conformance;
mod kafka;

use conformance::support::{Copied, bounded, copy_until, eventually, numbered, read_numbers, spec};
use conformance::{Backend, PARTITIONS};
use laneway_log::Topic;

type Place = kafka::Place<3, false>;

conformance_suite!(Place);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_go_on_without_one_of_the_brokers_and_lose_and_repeat_nothing() {
    const ROUNDS: u64 = 60;
    let case = async {
        // The name of the case that has a cluster of its own.
        let place = Place::fresh("killserver").await;
        let log = place.open().await;
        let stop = tokio::sync::Notify::new();
        let copying = async {
            while let Copied::Failed(error) = copy_until(&log, spec("copy", "a"), &stop).await {
                eprintln!("joining anew: {error}");
            }
        };
        let feeding = async {
            for round in 0..ROUNDS {
                if round == ROUNDS / 3 {
                    place.kill_broker();
                }
                for partition in 0..PARTITIONS {
                    let records = round * 10..round * 10 + 10;
                    // What is not acknowledged may be there all the same.
                    eventually("an append", async || {
                        let records = numbered(Topic::LocationUpdates, partition, records.clone());
                        log.append(records).await.ok()
                    })
                    .await;
                }
            }
            eventually("the group to catch up", async || {
                let lags = laneway_log::group_lag(&*log, "copy", Topic::LocationUpdates).await;
                lags.ok()?.iter().all(|l| l.lag == 0).then_some(())
            })
            .await;
            stop.notify_one();
        };
        tokio::join!(copying, feeding);
        for partition in 0..PARTITIONS {
            let taken = read_numbers(&log, Topic::LocationUpdates, partition).await;
            let mut distinct = taken.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct, (0..ROUNDS * 10).collect::<Vec<_>>(), "lost");
            let copied = read_numbers(&log, Topic::TenantStreams, partition).await;
            assert_eq!(copied, taken, "a unit was lost or repeated");
        }
        log.close().await;
    };
    bounded("units without a broker", case).await;
}
