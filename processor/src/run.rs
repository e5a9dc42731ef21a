//! The loop of the role: input into the open unit, the unit into the log.
//!
//! The commit follows the load. As soon as no more input waits, the unit is committed; while it
//! is, the next one grows from the state in memory, and at most one commit is in flight. After
//! a commit that failed nothing in memory is true any more: the member leaves, forgets, and
//! joins anew, from what the log has.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use laneway_log::{GroupSpec, Member, MemberEvent};
use laneway_runtime::Lifecycle;

use crate::processor::{GROUP, Processor, TOPICS};
use crate::unit::OpenUnit;
use crate::work::{Halt, Work, committed};

/// Batches that may wait for one partition's news before reading stops for all.
const MAX_QUEUED_BATCHES: usize = 1024;
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How often idle closes are looked for while there is no input, at most.
const TICK: Duration = Duration::from_secs(1);

pub async fn run(mut processor: Processor, lifecycle: Lifecycle) -> anyhow::Result<()> {
    let mut backoff = MIN_BACKOFF;
    let result = loop {
        let started = Instant::now();
        match member(&mut processor, &lifecycle).await {
            Ok(()) => break Ok(()),
            Err(Halt::Fatal(error)) => break Err(error.context("the processor cannot go on")),
            Err(Halt::Rejoin(error)) => {
                tracing::warn!(error, "the processor leaves its group and joins anew");
                metrics::counter!("laneway_processor_rejoins_total").increment(1);
                processor.health.rejoining(&error);
                if started.elapsed() > MAX_BACKOFF {
                    backoff = MIN_BACKOFF;
                }
                tokio::select! {
                    () = lifecycle.draining() => break Ok(()),
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(MAX_BACKOFF),
                }
            }
        }
    };
    processor.health.stopped();
    result
}

/// One membership, from joining to leaving.
async fn member(processor: &mut Processor, lifecycle: &Lifecycle) -> Result<(), Halt> {
    let log = processor.log.clone();
    let spec = GroupSpec {
        set: processor.set,
        ..GroupSpec::new(GROUP, TOPICS, &processor.instance)
    };
    let mut member = tokio::select! {
        () = lifecycle.draining() => return Ok(()),
        joined = log.join(spec) => joined?,
    };
    processor.health.running();
    let clock = processor.clock.clone();
    let mut work = Work {
        committer: member.committer(),
        shared: &mut processor.shared,
        settings: &processor.settings,
        health: &processor.health,
        log: &*log,
        epoch: laneway_log::Epoch(0),
        partitions: Default::default(),
        unit: OpenUnit::default(),
        in_flight: None,
        waits: Default::default(),
        queued: 0,
    };
    let mut result = work_until_drained(&mut work, &mut *member, lifecycle, &*clock).await;
    if result.is_ok() {
        result = work.flush().await;
    }
    // A commit in flight ends before the member is gone, whatever becomes of it.
    if let Some(commit) = work.in_flight.take() {
        let _ = commit.await;
    }
    drop(work);
    member.leave().await;
    result
}

async fn work_until_drained(
    work: &mut Work<'_>,
    member: &mut dyn Member,
    lifecycle: &Lifecycle,
    clock: &dyn laneway_runtime::Clock,
) -> Result<(), Halt> {
    let draining = lifecycle.draining();
    let mut draining = std::pin::pin!(draining);
    let mut ticks =
        tokio::time::interval(TICK.min(Duration::from_secs(work.settings.idle_close_seconds) / 4));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let now = Instant::now();
        work.pump(now)?;
        let (idle, full) = (work.unit.is_empty(), work.is_full(now));
        let free = work.in_flight.is_none();
        if full && free {
            work.begin_commit()?;
            continue;
        }
        let mut in_flight = work.in_flight.take();
        let event = tokio::select! {
            biased;
            () = &mut draining => Event::Drain,
            result = commit_in_flight(&mut in_flight), if in_flight.is_some() => Event::Committed(result),
            Some(over) = work.waits.next(), if !work.waits.is_empty() => Event::Over(over),
            next = member.next(), if !full && work.queued < MAX_QUEUED_BATCHES => Event::Member(next),
            () = std::future::ready(()), if free && !idle => Event::Quiet,
            _ = ticks.tick(), if free && idle => Event::Tick,
        };
        work.in_flight = in_flight;
        match event {
            Event::Drain => return Ok(()),
            Event::Committed(result) => {
                work.in_flight = None;
                committed(result)?;
            }
            Event::Over(over) => work.wait_is_over(&over),
            Event::Quiet => work.begin_commit()?,
            Event::Tick => work.tick(clock.now_us())?,
            Event::Member(next) => on_member(work, next?).await?,
        }
        // Lets the commit in flight get on where both share a thread.
        tokio::task::yield_now().await;
    }
}

enum Event {
    Drain,
    Committed(Result<Result<(), laneway_log::LogError>, tokio::task::JoinError>),
    Over(crate::waits::Over),
    Member(laneway_log::Result<MemberEvent>),
    /// No more input waits.
    Quiet,
    Tick,
}

type Commit = tokio::task::JoinHandle<laneway_log::Result<()>>;

async fn commit_in_flight(
    commit: &mut Option<Commit>,
) -> Result<laneway_log::Result<()>, tokio::task::JoinError> {
    match commit {
        Some(commit) => Pin::new(commit).await,
        None => std::future::pending().await,
    }
}

async fn on_member(work: &mut Work<'_>, event: MemberEvent) -> Result<(), Halt> {
    match event {
        MemberEvent::Assigned { partitions, epoch } => work.assign(&partitions, epoch).await,
        MemberEvent::Records(batch) => {
            work.accept(batch);
            Ok(())
        }
        MemberEvent::Revoked { partitions, done } => {
            let flushed = work.flush().await;
            work.forget(&partitions);
            tracing::info!(?partitions, "partitions revoked");
            drop(done);
            flushed
        }
        MemberEvent::Lost { partitions } => {
            work.finish_commit().await?;
            if !work.unit.is_empty() {
                return Err(Halt::Rejoin(format!(
                    "partitions {partitions:?} were lost with a unit open"
                )));
            }
            work.forget(&partitions);
            tracing::warn!(?partitions, "partitions lost");
            Ok(())
        }
    }
}
