//! One partition: its devices, and what a record does to them.

mod finish;
mod idle;

pub use idle::TICK_KEY;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use laneway_log::{Batch, RecordRef, Topic};
use laneway_schemas::{EncodeError, LocationUpdate, SessionAction, SessionEvent};
use laneway_tenancy::TenantId;

use crate::derive::{Derived, Device, Fix, FixOutcome, SessionOutcome, SessionStep, Touch};
use crate::devices::Devices;
use crate::emit::{Emitter, Started};
use crate::isolate::{self, Claim, Reason, Refusal, Verdict};
use crate::quarantine;
use crate::shared::{Shared, Undecoded};
use crate::tenants::Tenants;
use crate::unit::OpenUnit;
use crate::views::FixView;

/// An event that is written has at most this many bytes more than the record it comes from.
const GROWTH_BYTES: usize = 1024;

/// What a record has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Version { tenant: TenantId, version: i64 },
    Schema(u32),
}

pub struct Partition {
    pub number: u32,
    /// Highest received_at of what was accepted, or a tick: the time of idle closes.
    pub clock: i64,
    pub tenants: Tenants,
    pub devices: Devices,
    /// Batches that wait, with how much of each is done.
    pub queue: VecDeque<(Batch, usize)>,
    /// What the first of them waits for.
    pub wait: Option<Wait>,
    /// Where reading goes on, by topic, as far as known.
    pub positions: Vec<(Topic, u64)>,
    /// The first `touched` are in use.
    touches: Vec<Touch>,
    touched: usize,
    /// When to look at devices for their idle close: (time, place).
    due: BinaryHeap<Reverse<(i64, u32)>>,
}

/// How far a record has come.
enum Step {
    Done,
    Wait(Wait),
}

impl Partition {
    pub fn new(number: u32) -> Self {
        Partition {
            number,
            clock: i64::MIN,
            tenants: Tenants::new(),
            devices: Devices::new(),
            queue: VecDeque::new(),
            wait: None,
            positions: Vec::new(),
            touches: Vec::new(),
            touched: 0,
            due: BinaryHeap::new(),
        }
    }

    pub fn at_position(&mut self, topic: Topic, next: u64) {
        match self.positions.iter_mut().find(|(t, _)| *t == topic) {
            Some((_, position)) => *position = next,
            None => self.positions.push((topic, next)),
        }
    }

    /// Takes queued batches until the unit has `max` inputs or a record has to wait.
    pub fn pump(
        &mut self,
        max: usize,
        shared: &mut Shared,
        unit: &mut OpenUnit,
    ) -> Result<(), EncodeError> {
        while self.wait.is_none() && unit.inputs < max {
            let Some((batch, from)) = self.queue.pop_front() else {
                return Ok(());
            };
            let mut done = from;
            while let Some(record) = batch.get(done) {
                match self.take(batch.topic(), &record, shared, unit)? {
                    Step::Done => done += 1,
                    Step::Wait(wait) => {
                        self.wait = Some(wait);
                        break;
                    }
                }
            }
            unit.inputs += done - from;
            let waiting_at = self
                .wait
                .and_then(|_| batch.get(done))
                .map(|record| record.offset);
            let next = waiting_at.unwrap_or(batch.next_offset());
            if done > from || waiting_at.is_none() {
                unit.covers(batch.topic(), self.number, next);
                self.at_position(batch.topic(), next);
            }
            if waiting_at.is_some() {
                self.queue.push_front((batch, done));
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        topic: Topic,
        record: &RecordRef<'_>,
        shared: &mut Shared,
        unit: &mut OpenUnit,
    ) -> Result<Step, EncodeError> {
        let size =
            record.key.len() + record.headers.packed().len() + record.value.map_or(0, <[u8]>::len);
        let taken = if size + GROWTH_BYTES > shared.max_record_bytes {
            let detail = format!("{size} bytes leave no room for the events that come of it");
            Err((Refusal::new(Reason::TooLarge, detail), None))
        } else if topic == Topic::SessionEvents {
            match shared.decode::<SessionEvent, SessionEvent>(record.value) {
                Ok(event) => self.take_session(record, &event, shared, unit),
                Err(Undecoded::Load(id)) => return Ok(Step::Wait(Wait::Schema(id))),
                Err(Undecoded::Refused(refusal)) => Err((refusal, None)),
            }
        } else {
            match shared.decode::<LocationUpdate, FixView<'_>>(record.value) {
                Ok(fix) => self.take_fix(record, &fix, shared, unit),
                Err(Undecoded::Load(id)) => return Ok(Step::Wait(Wait::Schema(id))),
                Err(Undecoded::Refused(refusal)) => Err((refusal, None)),
            }
        };
        match taken {
            Ok(step) => Ok(step),
            Err((refusal, received_at)) => {
                *shared.counts.refused.entry(refusal.reason).or_default() += 1;
                let codecs = (&*shared.codecs, shared.max_record_bytes);
                quarantine::push(
                    (topic, self.number),
                    record,
                    &refusal,
                    received_at,
                    codecs,
                    &mut unit.records,
                )?;
                Ok(Step::Done)
            }
        }
    }

    /// Isolation, for both topics. `Ok(Err(..))` waits.
    fn isolate(
        &mut self,
        record: &RecordRef<'_>,
        claim: &Claim<'_>,
        shared: &Shared,
    ) -> Result<Result<u32, Step>, Refusal> {
        // Where the key is what the payload says and the tenant is known, it parses.
        let known = self.tenants.find(claim.tenant);
        let expected = claim.tenant.len();
        let agrees = record.key.len() == expected + 1 + claim.device.len()
            && record.key.starts_with(claim.tenant.as_bytes())
            && record.key[expected] == b'/'
            && record.key.ends_with(claim.device.as_bytes())
            && known.is_some();
        if !agrees {
            isolate::same(isolate::split_key(record.key)?, claim)?;
        }
        match isolate::judge(
            claim,
            known,
            self.number,
            &shared.directory,
            &shared.authority,
            &mut self.tenants,
        ) {
            Verdict::Passed(tenant) => Ok(Ok(tenant)),
            Verdict::Refused(refusal) => Err(refusal),
            Verdict::Wait { tenant, version } => {
                Ok(Err(Step::Wait(Wait::Version { tenant, version })))
            }
        }
    }

    fn take_fix(
        &mut self,
        record: &RecordRef<'_>,
        fix: &FixView<'_>,
        shared: &mut Shared,
        unit: &mut OpenUnit,
    ) -> Result<Step, (Refusal, Option<i64>)> {
        let refused = |refusal| (refusal, Some(fix.received_at));
        let claim = Claim {
            tenant: fix.tenant_id,
            device: fix.device_id,
            control_version: fix.control_version,
        };
        let tenant = match self.isolate(record, &claim, shared).map_err(refused)? {
            Ok(tenant) => tenant,
            Err(wait) => return Ok(wait),
        };
        if !fix.latitude.is_finite() || !fix.longitude.is_finite() {
            let detail = format!("its place {}, {} is none", fix.latitude, fix.longitude);
            return Err(refused(Refusal::new(Reason::Undecodable, detail)));
        }
        let ahead_us = self.tenants.get(tenant).ahead_us;
        let ahead = fix.recorded_at > fix.received_at.saturating_add(ahead_us);
        let input = Fix {
            id: fix.fix_id,
            session: fix.session_id,
            at: fix.recorded_at,
            received_at: fix.received_at,
            latitude: fix.latitude,
            longitude: fix.longitude,
            speed: fix.speed_mps,
            ahead,
        };
        let emitter = &mut shared.emitter;
        let (device, touch) = self.open(tenant, fix.device_id, fix.received_at, emitter);
        let (codecs, records) = (&*shared.codecs, &mut unit.records);
        let mut emit = |derived: Derived<'_>| emitter.derived(&derived, codecs, records);
        match device.apply_fix(&input, &shared.bounds, touch, &mut emit) {
            FixOutcome::Repeat => shared.counts.repeats += 1,
            FixOutcome::Accepted { latest, late } => {
                shared.counts.fixes += 1;
                shared.counts.late += u64::from(late);
                shared.counts.ahead += u64::from(ahead);
                emitter.position(fix, [latest, late, ahead], codecs, records);
            }
        }
        Ok(Step::Done)
    }

    fn take_session(
        &mut self,
        record: &RecordRef<'_>,
        event: &SessionEvent,
        shared: &mut Shared,
        unit: &mut OpenUnit,
    ) -> Result<Step, (Refusal, Option<i64>)> {
        let refused = |refusal| (refusal, Some(event.received_at));
        let claim = Claim {
            tenant: &event.tenant_id,
            device: &event.device_id,
            control_version: event.control_version,
        };
        let tenant = match self.isolate(record, &claim, shared).map_err(refused)? {
            Ok(tenant) => tenant,
            Err(wait) => return Ok(wait),
        };
        let step = SessionStep {
            session: &event.session_id,
            action: event.action,
            at: event.at,
            received_at: event.received_at,
            attributes: &event.attributes,
        };
        let emitter = &mut shared.emitter;
        let (device, touch) = self.open(tenant, &event.device_id, event.received_at, emitter);
        let (codecs, records) = (&*shared.codecs, &mut unit.records);
        let mut emit = |derived: Derived<'_>| emitter.derived(&derived, codecs, records);
        let outcome = device.apply_session(&step, &shared.bounds, touch, &mut emit);
        let counts = &mut shared.counts;
        match outcome {
            SessionOutcome::Repeat => counts.session_repeats += 1,
            SessionOutcome::Late => counts.session_late += 1,
            SessionOutcome::Started | SessionOutcome::Stopped => counts.session_events += 1,
        }
        if outcome == SessionOutcome::Started && event.action == SessionAction::Start {
            let started = Started {
                session: &event.session_id,
                at: event.at,
                received_at: event.received_at,
                attributes: &event.attributes,
            };
            emitter.started(&started, codecs, records);
        }
        Ok(Step::Done)
    }

    /// Opens a device, new where it is, for an input that has passed isolation, and aims the
    /// emitter at it.
    fn open(
        &mut self,
        tenant: u32,
        device: &str,
        received_at: i64,
        emitter: &mut Emitter,
    ) -> (&mut Device, &mut Touch) {
        self.clock = self.clock.max(received_at);
        emitter.aim(self.tenants.get(tenant), device, self.number, received_at);
        let place = self.devices.place(tenant, device);
        let touch = touch(
            &mut self.touches,
            &mut self.touched,
            &mut self.devices,
            place,
        );
        (self.devices.get_mut(place), touch)
    }
}

/// The unit's touch of a device, new where it is.
fn touch<'a>(
    touches: &'a mut Vec<Touch>,
    touched: &mut usize,
    devices: &mut Devices,
    place: u32,
) -> &'a mut Touch {
    let device = devices.get_mut(place);
    if device.touch == u32::MAX {
        if touches.len() == *touched {
            touches.push(Touch::default());
        }
        touches[*touched].reset(place);
        device.touch = u32::try_from(*touched).unwrap_or(u32::MAX);
        *touched += 1;
    }
    &mut touches[device.touch as usize]
}
