//! Answers that are held back, and connections that end, at any moment of many small units.

use std::sync::Arc;
use std::time::Duration;

use laneway_log::{Batch, Epoch, Log, LogError, Member, MemberEvent, Records, Result, Topic, Unit};
use laneway_testkit::Way;
use tokio::sync::Notify;

use super::proxied::{
    ADD_OFFSETS, ADD_PARTITIONS, END_TXN, PRODUCE, Proxied, TXN_OFFSET_COMMIT, requests,
};
use crate::conformance::PARTITIONS;
use crate::conformance::support::{append_numbers, bounded, caught_up, read_numbers, soon, spec};

/// Of each partition, in units of at most so many.
const RECORDS: u64 = 300;
const IN_A_UNIT: usize = 6;
const FAULTS: usize = 14;
/// The shorter of them end in time for the transaction, the longest do not.
const TRANSACTION_TIMEOUT_MS: u32 = 1_000;
const HOLDS_MS: [u64; 6] = [5, 30, 100, 300, 1_500, 2_500];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_held_back_and_connections_cut_at_any_moment_lose_and_repeat_nothing() {
    let place = Proxied::fresh("anymoment").await;
    let case = async {
        let inside = place.open_inside().await;
        for partition in 0..PARTITIONS {
            append_numbers(&inside, Topic::LocationUpdates, partition, 0..RECORDS).await;
        }
        let log = place
            .open_with(|config| {
                config.kafka.transaction_timeout_ms = TRANSACTION_TIMEOUT_MS;
                config.session_timeout_ms = 6_000;
            })
            .await;
        let stop = Notify::new();
        let rest = async {
            fail(&place).await;
            caught_up(&inside, "g", Topic::LocationUpdates).await;
            stop.notify_one();
        };
        tokio::join!(copy(&log, &stop), rest);
        for partition in 0..PARTITIONS {
            assert_eq!(
                read_numbers(&inside, Topic::TenantStreams, partition).await,
                (0..RECORDS).collect::<Vec<_>>()
            );
        }
        log.close().await;
        inside.close().await;
    };
    bounded("anymoment", case).await;
}

/// Any number below `end`, the same in every run (xorshift).
fn chance(state: &mut u64, end: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % end
}

/// Each fault begins at one of the next requests of a transaction; some end with the connections.
async fn fail(place: &Proxied) {
    let transaction = [
        PRODUCE,
        ADD_PARTITIONS,
        ADD_OFFSETS,
        TXN_OFFSET_COMMIT,
        END_TXN,
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for fault in 0..FAULTS {
        let way = if chance(&mut state, 4) == 0 {
            Way::ToServer
        } else {
            Way::ToClient
        };
        let mut others = chance(&mut state, 9);
        let picks = move |sent: &[u8]| {
            let picked = requests(sent).iter().any(|kind| transaction.contains(kind));
            let last = picked && others == 0;
            others -= u64::from(picked && !last);
            last
        };
        place.proxy().stall_at(way, picks).expect("a stall");
        soon("a request of a transaction", place.proxy().stalled()).await;
        let hold = HOLDS_MS[fault % HOLDS_MS.len()];
        tokio::time::sleep(Duration::from_millis(hold)).await;
        if chance(&mut state, 2) == 0 {
            place.cut().await;
        }
        place.restore().await;
    }
}

/// Copies unit by unit as the processor does: whatever goes wrong ends the membership, and the
/// next one goes on from the log.
async fn copy(log: &Arc<dyn Log>, stop: &Notify) {
    while let Err(error) = membership(log, stop).await {
        assert!(
            error.is_transient() || matches!(error, LogError::Fenced { .. } | LogError::Fatal(_)),
            "{error:?}"
        );
        eprintln!("joining anew: {error}");
    }
}

async fn membership(log: &Arc<dyn Log>, stop: &Notify) -> Result<()> {
    let mut member = soon("joining", log.join(spec("g", "a"))).await?;
    let result = copy_assigned(&mut *member, stop).await;
    soon("leaving", member.leave()).await;
    result
}

async fn copy_assigned(member: &mut dyn Member, stop: &Notify) -> Result<()> {
    let committer = member.committer();
    let mut current = None;
    loop {
        let event = tokio::select! {
            event = member.next() => event?,
            () = stop.notified() => return Ok(()),
        };
        match event {
            MemberEvent::Assigned { epoch, .. } => current = Some(epoch),
            MemberEvent::Revoked { .. } | MemberEvent::Lost { .. } => {}
            MemberEvent::Records(batch) => {
                let epoch = current.expect("records follow an assignment");
                for unit in units(&batch, epoch) {
                    soon("a unit", committer.commit(unit)).await?;
                }
            }
        }
    }
}

/// That copy a batch, a few records each.
fn units(batch: &Batch, epoch: Epoch) -> Vec<Unit> {
    let all: Vec<_> = batch.iter().collect();
    let unit = |part: &[laneway_log::RecordRef<'_>]| {
        let (topic, partition) = (Topic::TenantStreams, batch.partition());
        let mut records = Records::new();
        let mut next = batch.next_offset();
        for r in part {
            let value = r.value.expect("a value");
            records.push(topic, partition, r.timestamp_ms, r.key, [], value);
            next = r.offset + 1;
        }
        Unit {
            epoch,
            records,
            offsets: vec![(batch.topic(), partition, next)],
        }
    };
    all.chunks(IN_A_UNIT).map(unit).collect()
}
