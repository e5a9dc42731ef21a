//! The end of a unit, for one partition: what changed is said, and the state written.

use laneway_log::{Records, Topic};
use laneway_schemas::{EncodeError, ProcessorState, StateKind};

use super::Partition;
use crate::derive::{Derived, StateBody, write_state};
use crate::shared::Shared;
use crate::views::StateView;

impl Partition {
    /// Says what the unit changed, closes what has been idle for long enough by the partition's
    /// clock, and writes the state of every device that was touched.
    pub fn finish(
        &mut self,
        shared: &mut Shared,
        records: &mut Records,
    ) -> Result<(), EncodeError> {
        self.say_changes(shared, records);
        self.close_idle(shared, records);
        let written = self.write_states(shared, records);
        self.queue_touched(shared.idle_close_us);
        self.touched = 0;
        shared.emitter.take_failure()?;
        written
    }

    fn say_changes(&mut self, shared: &mut Shared, records: &mut Records) {
        let Shared {
            emitter,
            codecs,
            bounds,
            ..
        } = shared;
        for touch in &mut self.touches[..self.touched] {
            // Repeats alone change nothing.
            if touch.received_at == i64::MIN {
                continue;
            }
            let device = self.devices.get_mut(touch.device);
            emitter.aim(
                self.tenants.get(device.tenant),
                device.id(),
                self.number,
                touch.received_at,
            );
            let mut emit = |derived: Derived<'_>| emitter.derived(&derived, codecs, records);
            device.finish(bounds, touch, &mut emit);
        }
    }

    fn write_states(
        &mut self,
        shared: &mut Shared,
        records: &mut Records,
    ) -> Result<(), EncodeError> {
        let Shared {
            emitter,
            codecs,
            scratch,
            ..
        } = shared;
        let mut result = Ok(());
        let mut part_key = Vec::new();
        for touch in &self.touches[..self.touched] {
            let device = self.devices.get_mut(touch.device);
            device.touch = u32::MAX;
            if touch.received_at == i64::MIN {
                continue;
            }
            let tenant = self.tenants.get(device.tenant);
            let timestamp_ms = touch.received_at / 1000;
            emitter.aim(tenant, device.id(), self.number, touch.received_at);
            let (key, clock, number) = (emitter.key(), self.clock, self.number);
            let device_id = device.id().to_owned();
            write_state(device, scratch, &mut |part, body| {
                let (key, kind) = match part {
                    StateBody::Head => (key, StateKind::Head),
                    part => {
                        part_key.clear();
                        part_key.extend_from_slice(key);
                        part.put_key(&mut part_key);
                        (part_key.as_slice(), StateKind::Block)
                    }
                };
                let Some(body) = body else {
                    return records.push_tombstone(
                        Topic::ProcessorState,
                        number,
                        timestamp_ms,
                        key,
                    );
                };
                let view = StateView {
                    tenant_id: &tenant.text,
                    device_id: &device_id,
                    kind,
                    clock,
                    body,
                };
                records.push_with(
                    Topic::ProcessorState,
                    number,
                    timestamp_ms,
                    key,
                    [],
                    |out| {
                        if let Err(error) = codecs.encode_as::<ProcessorState, _>(&view, out) {
                            result = Err(error);
                        }
                    },
                );
            });
        }
        result
    }
}
