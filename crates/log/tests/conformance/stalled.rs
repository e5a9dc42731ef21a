//! A member that does not run for longer than the session: its partitions move, and what it
//! then tries is refused.

use laneway_log::{LogError, MemberEvent, Topic};
use rustix::process::Signal;

use super::child::Child;
use super::support::{
    append_numbers, assigned, caught_up, copy_of, copy_until, event, join, numbers_of,
    read_numbers, records, soon, spec,
};
use super::{Backend, PARTITIONS};

pub async fn a_member_that_stalled_until_its_partitions_moved_is_fenced<B: Backend>() {
    if B::SHARED {
        stopped_process::<B>().await
    } else {
        silent_handle::<B>().await
    }
}

/// The holder is a process that is stopped by a signal and goes on later.
async fn stopped_process<B: Backend>() {
    let backend = B::fresh("stopped").await;
    let log = backend.open().await;
    append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
    let mut child = Child::start(&backend, "hold", 0);
    assert_eq!(child.line().await.as_deref(), Some("holding"));
    child.signal(Signal::STOP);
    let stop = tokio::sync::Notify::new();
    let moved = async {
        caught_up(&log, "held", Topic::LocationUpdates).await;
        stop.notify_one();
    };
    let _ = tokio::join!(copy_until(&log, spec("held", "other"), &stop), moved);
    child.tell().await;
    child.signal(Signal::CONT);
    assert_eq!(child.line().await.as_deref(), Some("fenced"));
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, 0).await,
        (0..10).collect::<Vec<_>>()
    );
    log.close().await;
}

/// The holder is a handle that is not asked for its next event.
async fn silent_handle<B: Backend>() {
    let backend = B::fresh("silent").await;
    let log = backend
        .open_with(|c| c.session_timeout_ms = 300)
        .await
        .expect("opening");
    append_numbers(&log, Topic::LocationUpdates, 0, 0..10).await;
    let mut holder = join(&log, spec("held", "holder")).await;
    let (_, epoch) = assigned(&mut holder).await;
    let held = records(&mut holder).await;
    let mut other = join(&log, spec("held", "other")).await;
    let (partitions, new) = assigned(&mut other).await;
    assert_eq!(
        partitions,
        (0..PARTITIONS).collect::<Vec<_>>(),
        "everything has moved"
    );
    let fenced = soon("a unit", holder.committer().commit(copy_of(&held, epoch))).await;
    assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
    assert!(read_numbers(&log, Topic::TenantStreams, 0).await.is_empty());
    let again = records(&mut other).await;
    assert_eq!(numbers_of(&again), numbers_of(&held));
    soon("a unit", other.committer().commit(copy_of(&again, new)))
        .await
        .expect("the new owner commits");
    assert_eq!(
        read_numbers(&log, Topic::TenantStreams, 0).await,
        (0..10).collect::<Vec<_>>()
    );
    // It learns of its loss, and gets a share again as soon as it asks.
    let lost = event(&mut holder).await;
    assert!(
        matches!(&lost, MemberEvent::Lost { partitions } if partitions.len() == PARTITIONS as usize),
        "{lost:?}"
    );
    let (mine, theirs) = tokio::join!(assigned(&mut holder), assigned(&mut other));
    let mut all = [mine.0, theirs.0].concat();
    all.sort_unstable();
    assert_eq!(all, (0..PARTITIONS).collect::<Vec<_>>());
    holder.leave().await;
    other.leave().await;
    log.close().await;
}
