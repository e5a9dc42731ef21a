//! The one writer: takes all that waits, applies it in one transaction, syncs, and answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Shared;
use super::group::{MemberId, Offset};
use super::lane::{Lane, Tables};
use super::queue::{Request, Taken, Work};
use super::retention::Sweep;
use super::store::NUMBERS;
use crate::{Epoch, LogError, Records, Result};

/// Bounds how long one commit takes, and so how long the next one waits.
const COMMIT_BYTES: usize = 4 << 20;

/// How often the writer looks around while nothing comes.
const TICK: Duration = Duration::from_secs(1);

/// How long requests are refused after a failure before the disk is tried again.
const RETRY: Duration = Duration::from_millis(500);

const SEQUENCE: &str = "commits";
const DOING: &str = "committing to the embedded log";

/// An admitted request.
struct Accepted {
    records: Records,
    unit: Option<(MemberId, Epoch, Vec<Offset>)>,
    bytes: usize,
    done: oneshot::Sender<Result<()>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    sweep: Sweep,
    /// Number of the last durable commit, stored with each: tells after an I/O error whether the
    /// commit came to the disk all the same.
    sequence: u64,
    /// The last failure, and when.
    failed: Option<(LogError, Instant)>,
    /// Units whose commit failed and whose fate only a reopened database can tell.
    uncertain: Vec<Accepted>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, lanes: Vec<Lane>, sweep: Sweep) -> Result<Self> {
        let sequence = stored_sequence(&shared)?;
        Ok(Writer {
            shared,
            lanes,
            sweep,
            sequence,
            failed: None,
            uncertain: Vec::new(),
        })
    }

    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let mut deadline = now + TICK;
            if let Some(expiry) = self.shared.groups.expire(now) {
                deadline = deadline.min(expiry);
            }
            if !self.uncertain.is_empty() {
                deadline = deadline.min(now + RETRY);
            }
            if self.sweep.tick(now, &self.lanes) && self.failed.is_none() {
                deadline = now;
            }
            match self.shared.queue.take(deadline, COMMIT_BYTES) {
                Taken::Requests(requests) => self.commit(requests),
                Taken::Nothing => self.commit(Vec::new()),
                Taken::Closed => break,
            }
        }
        for accepted in std::mem::take(&mut self.uncertain) {
            self.answer(accepted, &Err(LogError::Closed));
        }
    }

    fn commit(&mut self, requests: Vec<Request>) {
        let mut accepted: Vec<_> = requests
            .into_iter()
            .filter_map(|request| self.accept(request))
            .collect();
        if let Err(error) = self.recover() {
            return self.refuse(accepted, &error);
        }
        if accepted.iter().any(|a| !a.records.is_empty())
            && let Err(error) = self.shared.store.check_space()
        {
            self.shared.set_health(Some(&error));
            let (appends, offsets) = accepted.into_iter().partition(|a| !a.records.is_empty());
            self.refuse(appends, &error);
            accepted = offsets;
        }
        let started = Instant::now();
        match self.write(&accepted) {
            Ok(false) => {}
            Ok(true) => {
                metrics::histogram!("laneway_log_commit_seconds")
                    .record(started.elapsed().as_secs_f64());
                if accepted.iter().any(|a| !a.records.is_empty()) {
                    self.shared.set_health(None);
                }
                self.settle(true);
                for a in accepted {
                    self.answer(a, &Ok(()));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit of the embedded log failed; reopening it");
                self.shared.set_health(Some(&error));
                let (units, appends): (Vec<_>, Vec<_>) =
                    accepted.into_iter().partition(|a| a.unit.is_some());
                self.uncertain = units;
                self.refuse(appends, &error);
                self.reopen(error);
            }
        }
    }

    /// Lets a request in, or answers it.
    fn accept(&self, request: Request) -> Option<Accepted> {
        let Request { work, bytes, done } = request;
        match work {
            Work::Append(records) => Some(Accepted {
                records,
                unit: None,
                bytes,
                done,
            }),
            Work::Unit(id, unit) => {
                match self.shared.groups.admit(&id, unit.epoch, &unit.offsets) {
                    Ok(()) => {
                        let unit_of = Some((id, unit.epoch, unit.offsets));
                        Some(Accepted {
                            records: unit.records,
                            unit: unit_of,
                            bytes,
                            done,
                        })
                    }
                    Err(fenced) => {
                        self.shared.queue.release(bytes);
                        let _ = done.send(Err(fenced));
                        None
                    }
                }
            }
        }
    }

    fn refuse(&self, refused: Vec<Accepted>, error: &LogError) {
        for accepted in refused {
            self.answer(accepted, &Err(error.clone()));
        }
    }

    fn answer(&self, accepted: Accepted, outcome: &Result<()>) {
        if let Some((id, epoch, offsets)) = &accepted.unit {
            self.shared
                .groups
                .finish(id, *epoch, offsets, outcome.is_ok());
        }
        self.shared.queue.release(accepted.bytes);
        let _ = accepted.done.send(outcome.clone());
    }

    /// Applies requests and a step of retention in one transaction. `false`: there was nothing
    /// to write.
    fn write(&mut self, accepted: &[Accepted]) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let fail = |e: redb::Error| shared.store.error(DOING, e);
        let tx = shared.store.write(DOING)?;
        let swept = self.apply(&tx, accepted).map_err(fail)?;
        if accepted.is_empty() && !swept {
            tx.abort().map_err(|e| fail(e.into()))?;
            return Ok(false);
        }
        tx.commit().map_err(|e| fail(e.into()))?;
        Ok(true)
    }

    /// Returns whether retention has removed anything.
    fn apply(
        &mut self,
        tx: &redb::WriteTransaction,
        accepted: &[Accepted],
    ) -> Result<bool, redb::Error> {
        let mut tables = Tables::open(tx)?;
        let mut added = 0;
        for request in accepted {
            for record in request.records.raw() {
                let index = self.shared.index(record.topic, record.partition);
                let lane = &mut self.lanes[index];
                if lane.add(&mut tables, &record)? {
                    added += 1;
                    self.sweep.grown(index, lane);
                }
            }
            if let Some((id, _, offsets)) = &request.unit {
                for &(topic, partition, offset) in offsets {
                    tables
                        .offsets
                        .insert((&*id.group, topic as u8, partition), offset)?;
                }
            }
        }
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.cut(&mut tables)? {
                added += 1;
                self.sweep.grown(index, lane);
            }
        }
        let swept = self
            .sweep
            .step(&mut tables, &mut self.lanes, added, super::now_ms())?;
        for lane in self.lanes.iter().filter(|lane| lane.is_dirty()) {
            lane.store(&mut tables)?;
        }
        tx.open_table(NUMBERS)?
            .insert(SEQUENCE, self.sequence + 1)?;
        Ok(swept)
    }

    /// The open transaction is durable and becomes visible, or is gone.
    fn settle(&mut self, durable: bool) {
        if !durable {
            self.lanes.iter_mut().for_each(Lane::roll_back);
            return;
        }
        self.sequence += 1;
        for (lane, partition) in self.lanes.iter_mut().zip(&self.shared.partitions) {
            if lane.is_dirty() {
                let (row, fresh) = lane.publish();
                partition.publish(&row, fresh);
            }
        }
        self.shared.commits.send_modify(|commits| *commits += 1);
    }

    /// Makes the database usable after a failure, not too often.
    fn recover(&mut self) -> Result<()> {
        let Some((error, when)) = &self.failed else {
            return Ok(());
        };
        let error = error.clone();
        if when.elapsed() < RETRY {
            return Err(error);
        }
        if self.shared.store.is_open() {
            // The database has been reopened already; only appends had to wait.
            self.failed = None;
            return Ok(());
        }
        self.reopen(error);
        match &self.failed {
            Some((error, _)) if !self.shared.store.is_open() => Err(error.clone()),
            _ => {
                self.failed = None;
                Ok(())
            }
        }
    }

    /// Reopens the database after `error` and finds out what became of the open transaction.
    fn reopen(&mut self, error: LogError) {
        let reopened = self
            .shared
            .store
            .reopen()
            .and_then(|()| stored_sequence(&self.shared));
        match reopened {
            Ok(stored) => {
                let durable = stored > self.sequence;
                self.settle(durable);
                let outcome = if durable { Ok(()) } else { Err(error.clone()) };
                for accepted in std::mem::take(&mut self.uncertain) {
                    self.answer(accepted, &outcome);
                }
                self.failed = Some((error, Instant::now()));
            }
            Err(again) => {
                tracing::error!(error = %again, "the embedded log cannot be reopened; trying again");
                self.shared.store.close();
                self.shared.set_health(Some(&again));
                self.failed = Some((again, Instant::now()));
            }
        }
    }
}

fn stored_sequence(shared: &Shared) -> Result<u64> {
    let fail = |e: redb::Error| shared.store.error("opening the log", e);
    let tx = shared.store.read("opening the log")?;
    let numbers = tx.open_table(NUMBERS).map_err(|e| fail(e.into()))?;
    let stored = redb::ReadableTable::get(&numbers, SEQUENCE).map_err(|e| fail(e.into()))?;
    Ok(stored.map_or(0, |v| v.value()))
}
