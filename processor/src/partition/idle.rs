//! Idle closes: a device that has sent nothing for a while, by the partition's clock, has its
//! open window said. The clock moves with the input, or by a tick that is written down first.

use std::cmp::Reverse;

use laneway_log::{Records, Topic};
use laneway_schemas::{EncodeError, ProcessorState, StateKind};

use super::{Partition, touch};
use crate::derive::Derived;
use crate::shared::Shared;
use crate::tenants::is_closed;
use crate::unit::OpenUnit;
use crate::views::StateView;

/// Before the partition's number, the key of its ticks. No tenant's id begins like it.
pub const TICK_KEY: &str = "~tick/";

impl Partition {
    /// Whether a device waits for its idle close at `now`, so that a tick is worth writing.
    pub fn wants_tick(&mut self, now: i64, idle_close_us: i64) -> bool {
        while let Some(Reverse((at, place))) = self.due.peek().copied() {
            if at > now {
                return false;
            }
            let device = self.devices.get_mut(place);
            let due = device.last_received().saturating_add(idle_close_us);
            if due <= now && device.waits() {
                return !self.positions.is_empty();
            }
            self.due.pop();
            if device.waits() {
                self.due.push(Reverse((due, place)));
            } else {
                device.queued = false;
                self.devices.rest(place);
            }
        }
        false
    }

    /// Sets the clock to `now` as part of the unit. The unit also repeats the partition's
    /// positions, so that it is refused where the partition has another owner by now.
    pub fn tick(
        &mut self,
        now: i64,
        shared: &Shared,
        unit: &mut OpenUnit,
    ) -> Result<(), EncodeError> {
        self.clock = self.clock.max(now);
        for (topic, next) in &self.positions {
            unit.covers(*topic, self.number, *next);
        }
        let key = format!("{TICK_KEY}{}", self.number);
        let view = StateView {
            tenant_id: "",
            device_id: "",
            kind: StateKind::Tick,
            clock: self.clock,
            body: &[],
        };
        let mut encoded = Ok(());
        unit.records.push_with(
            Topic::ProcessorState,
            self.number,
            now / 1000,
            key.as_bytes(),
            [],
            |out| {
                encoded = shared.codecs.encode_as::<ProcessorState, _>(&view, out);
            },
        );
        encoded
    }

    /// Puts the unit's devices into the queue of idle closes.
    pub(super) fn queue_touched(&mut self, idle_close_us: i64) {
        for touch in &self.touches[..self.touched] {
            queue(
                &mut self.due,
                &mut self.devices,
                touch.device,
                idle_close_us,
            );
        }
    }

    /// Puts a restored device into the queue of idle closes, or to rest.
    pub fn queue_restored(&mut self, place: u32, idle_close_us: i64) {
        if self.devices.get_mut(place).waits() {
            queue(&mut self.due, &mut self.devices, place, idle_close_us);
        } else {
            self.devices.rest(place);
        }
    }

    pub(super) fn close_idle(&mut self, shared: &mut Shared, records: &mut Records) {
        let Shared {
            emitter,
            codecs,
            bounds,
            idle_close_us,
            directory,
            ..
        } = shared;
        while let Some(Reverse((at, place))) = self.due.peek().copied() {
            if at > self.clock {
                return;
            }
            self.due.pop();
            let device = self.devices.get_mut(place);
            let due = device.last_received().saturating_add(*idle_close_us);
            if due > self.clock {
                self.due.push(Reverse((due, place)));
                continue;
            }
            let tenant = self.tenants.get(device.tenant).id;
            if device.waits() && !is_closed(tenant, directory) {
                let touch = touch(
                    &mut self.touches,
                    &mut self.touched,
                    &mut self.devices,
                    place,
                );
                touch.received_at = self.clock;
                let device = self.devices.get_mut(place);
                emitter.aim(
                    self.tenants.get(device.tenant),
                    device.id(),
                    self.number,
                    self.clock,
                );
                let mut emit = |derived: Derived<'_>| emitter.derived(&derived, codecs, records);
                device.close_idle(bounds, touch, &mut emit);
            }
            self.devices.get_mut(place).queued = false;
            self.devices.rest(place);
        }
    }
}

fn queue(
    due: &mut std::collections::BinaryHeap<Reverse<(i64, u32)>>,
    devices: &mut crate::devices::Devices,
    place: u32,
    idle_close_us: i64,
) {
    let device = devices.get_mut(place);
    if !device.queued && device.last_received() != i64::MIN {
        device.queued = true;
        due.push(Reverse((
            device.last_received().saturating_add(idle_close_us),
            place,
        )));
    }
}
