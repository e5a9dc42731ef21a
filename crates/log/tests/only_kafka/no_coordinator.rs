//! A group whose coordinator is not found at once, as while its broker is being replaced.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use laneway_log::Topic;
use laneway_testkit::Way;

use super::proxied::{FIND_COORDINATOR, Proxied};
use crate::conformance::support::{
    append_numbers, assigned, bounded, copy_of, join, read_numbers, records, soon, spec,
};

/// What a broker says that knows no leader of the group's partition of `__consumer_offsets`.
/// Source: <https://kafka.apache.org/protocol#protocol_error_codes>
const COORDINATOR_NOT_AVAILABLE: i16 = 15;

/// librdkafka asks this often in a row.
const IN_A_ROW: usize = 3;
const REFUSALS: usize = IN_A_ROW + 1;

/// In place of the first answers about where a group's coordinator is, that there is none. The
/// count is of those.
fn refused(place: &Proxied) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let mut asked = HashSet::new();
    let alter = move |way, passing: &mut [u8]| match (way, passing) {
        // Length, kind, version and correlation of a request.
        (Way::ToServer, [_, _, _, _, k1, k2, _, _, c1, c2, c3, c4, ..])
            if i16::from_be_bytes([*k1, *k2]) == FIND_COORDINATOR =>
        {
            asked.insert([*c1, *c2, *c3, *c4]);
        }
        // Length, correlation, throttle time and error of an answer.
        (Way::ToClient, [_, _, _, _, c1, c2, c3, c4, 0, 0, 0, 0, e1 @ 0, e2 @ 0, ..])
            if asked.remove(&[*c1, *c2, *c3, *c4])
                && counting.load(Ordering::Relaxed) < REFUSALS =>
        {
            counting.fetch_add(1, Ordering::Relaxed);
            [*e1, *e2] = COORDINATOR_NOT_AVAILABLE.to_be_bytes();
        }
        _ => {}
    };
    place.proxy().alter(alter).expect("altering");
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_outlasts_that_its_groups_coordinator_is_not_found() {
    let place = Proxied::fresh("nocoordinator").await;
    let case = async {
        let log = place.open_with(|_| {}).await;
        append_numbers(&log, Topic::LocationUpdates, 1, 0..10).await;
        let mut member = join(&log, spec("g", "a")).await;
        let (_, epoch) = assigned(&mut member).await;
        let batch = records(&mut member).await;
        let refused = refused(&place);
        let committed = soon("a unit", member.committer().commit(copy_of(&batch, epoch))).await;
        committed.expect("it is committed");
        assert!(refused.load(Ordering::Relaxed) >= IN_A_ROW);
        let copied = read_numbers(&log, Topic::TenantStreams, 1).await;
        assert_eq!(copied, (0..10).collect::<Vec<_>>());
        member.leave().await;
        log.close().await;
    };
    bounded("nocoordinator", case).await;
}
