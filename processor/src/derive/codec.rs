//! A device's state as the log keeps it: a small *head*, written by every unit that touches the
//! device, *blocks* of points, and *runs* of ids; each of these is written once, and deleted when
//! nothing needs it.

mod points;
mod seen;
mod sessions;

use std::collections::BTreeMap;

pub use super::wire::DamagedState;

use super::device::Device;
use super::wire::{Bytes, put_bytes, put_i64, put_u64};
use points::{Restored, put_points, take_points};
use seen::{put_run, put_seen, take_seen};
use sessions::{put_session, take_session};

/// Layout of heads and blocks.
const VERSION: u8 = 1;
/// Points that a head carries at most; then they become a block.
const BLOCK_POINTS: u32 = 16;

const OPEN: u8 = 1;
const SEEN: u8 = 2;
const FLOOR: u8 = 4;
const EXTRA: u8 = 8;
const SEEN_IDS: u8 = 16;

/// A part of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateBody {
    Head,
    Block(u32),
    Run(u32),
}

impl StateBody {
    /// Before the number of a run, in its key.
    const RUN: &'static str = "ids-";

    /// Appends what a part's key has behind that of the head.
    pub fn put_key(self, out: &mut Vec<u8>) {
        let (mark, number) = match self {
            StateBody::Head => return,
            StateBody::Block(number) => ("", number),
            StateBody::Run(number) => (Self::RUN, number),
        };
        out.push(b'/');
        out.extend_from_slice(mark.as_bytes());
        out.extend_from_slice(number.to_string().as_bytes());
    }

    /// What [`StateBody::put_key`] appended, without the slash.
    pub fn parse_key(text: &str) -> Option<StateBody> {
        match text.strip_prefix(Self::RUN) {
            Some(number) => number.parse().ok().map(StateBody::Run),
            None => text.parse().ok().map(StateBody::Block),
        }
    }
}

/// Gives `put` what the unit's changes make of the state in the log: `None` deletes.
pub fn write_state(
    device: &mut Device,
    scratch: &mut Vec<u8>,
    put: &mut dyn FnMut(StateBody, Option<&[u8]>),
) {
    if device.tail >= BLOCK_POINTS {
        let number = seal_tail(device, scratch);
        put(StateBody::Block(number), Some(scratch));
    }
    if let (_, Some(extra)) = device.points_and_extra() {
        for number in extra.written_first..extra.first_block {
            put(StateBody::Block(number), None);
        }
        extra.written_first = extra.first_block;
        if let Some(seen) = &mut extra.seen {
            let (deleted, new) = seen.take_changes();
            for number in deleted {
                put(StateBody::Run(number), None);
            }
            for (number, run) in new {
                put_run(run, scratch);
                put(StateBody::Run(number), Some(scratch));
            }
        }
    }
    scratch.clear();
    put_head(device, scratch);
    put(StateBody::Head, Some(scratch));
}

/// Moves the tail into a block.
fn seal_tail(device: &mut Device, out: &mut Vec<u8>) -> u32 {
    out.clear();
    out.push(VERSION);
    put_points(&device.points, device.tail, out);
    let mut last_at = i64::MIN;
    let mut left = device.tail;
    for point in device.points.rows_mut().iter_mut().rev() {
        if left == 0 {
            break;
        }
        if point.in_tail {
            point.in_tail = false;
            last_at = last_at.max(point.at);
            left -= 1;
        }
    }
    device.tail = 0;
    let extra = device.extra_mut();
    extra.blocks.push_back(last_at);
    // Blocks are consecutive: the last one of them is the new one.
    extra.first_block + u32::try_from(extra.blocks.len()).unwrap_or(u32::MAX) - 1
}

fn put_head(device: &Device, out: &mut Vec<u8>) {
    out.push(VERSION);
    let mut flags = 0;
    for (flag, set) in [
        (OPEN, device.open),
        (SEEN, device.watermark().is_some()),
        (FLOOR, device.floor() != i64::MIN),
        (EXTRA, device.extra().is_some()),
        (SEEN_IDS, device.seen().is_some()),
    ] {
        flags |= if set { flag } else { 0 };
    }
    out.push(flags);
    put_i64(out, device.last_received());
    if let Some(watermark) = device.watermark() {
        put_i64(out, watermark);
        put_bytes(out, device.latest_fix().as_bytes());
    }
    if device.floor() != i64::MIN {
        put_i64(out, device.floor());
    }
    if let Some(extra) = device.extra() {
        put_u64(out, u64::from(extra.first_block));
        put_u64(out, extra.blocks.len() as u64);
        put_u64(out, u64::from(extra.revision_base));
        put_u64(out, extra.ring.len() as u64);
        for id in &extra.ring {
            out.extend_from_slice(&id.to_le_bytes());
        }
        put_u64(out, extra.sessions.len() as u64);
        for session in &extra.sessions {
            put_session(session, out);
        }
    }
    if let Some(seen) = device.seen() {
        put_seen(seen, out);
    }
    put_points(&device.points, device.tail, out);
}

/// Reads a device back from its head and the other parts that the log has of it.
pub fn decode_device(
    tenant: u32,
    id: &str,
    head: &[u8],
    parts: &BTreeMap<StateBody, Vec<u8>>,
) -> Result<Device, DamagedState> {
    let mut device = Device::new(tenant, id);
    let mut bytes = Bytes::new(head);
    check_version(&mut bytes)?;
    let flags = bytes.u8()?;
    device.open = flags & OPEN != 0;
    device.set_last_received(bytes.i64()?);
    if flags & SEEN != 0 {
        let watermark = bytes.i64()?;
        device.set_latest(watermark, bytes.text()?);
    }
    if flags & FLOOR != 0 {
        device.floor = bytes.i64()?;
    }
    let mut restored = Restored::default();
    if flags & EXTRA != 0 {
        let first = bytes.u32()?;
        let count = bytes.u32()?;
        let extra = device.extra_mut();
        (extra.first_block, extra.written_first) = (first, first);
        extra.revision_base = bytes.u32()?;
        for _ in 0..bytes.u32()? {
            extra.ring.push_back(bytes.fixed_u64()?);
        }
        for _ in 0..bytes.u32()? {
            extra.sessions.push(take_session(&mut bytes)?);
        }
        for number in first..first.saturating_add(count) {
            let block = parts
                .get(&StateBody::Block(number))
                .ok_or_else(|| bytes.damaged("a block of points is missing"))?;
            let mut block = Bytes::new(block);
            check_version(&mut block)?;
            let last_at = take_points(&mut block, false, &mut restored)?;
            extra.blocks.push_back(last_at);
        }
    }
    if flags & SEEN_IDS != 0 {
        device.extra_mut().seen = Some(Box::new(take_seen(&mut bytes, parts)?));
    }
    take_points(&mut bytes, true, &mut restored)?;
    if !bytes.is_done() {
        return Err(bytes.damaged("the state goes on"));
    }
    restored.into_device(&mut device);
    Ok(device)
}

/// Everything of a device in as few bytes as can be, for as long as nothing comes for it. `false`
/// where some of it is not in its head.
pub fn pack(device: &Device, out: &mut Vec<u8>) -> bool {
    let blocks = device
        .extra()
        .is_some_and(|e| !e.blocks.is_empty() || e.written_first != e.first_block);
    if blocks || device.seen().is_some_and(|seen| !seen.is_in_head()) {
        return false;
    }
    out.clear();
    out.extend_from_slice(&device.tenant.to_le_bytes());
    put_bytes(out, device.id().as_bytes());
    put_head(device, out);
    true
}

/// Tenant and id of a packed device, and the rest of it.
pub fn packed_name(packed: &[u8]) -> Result<(u32, &str, &[u8]), DamagedState> {
    let mut bytes = Bytes::new(packed);
    let mut tenant = [0; 4];
    tenant.copy_from_slice(bytes.take(4)?);
    let id = bytes.text()?;
    Ok((u32::from_le_bytes(tenant), id, bytes.rest()))
}

/// The device that was packed.
pub fn unpack(packed: &[u8]) -> Result<Device, DamagedState> {
    let (tenant, id, head) = packed_name(packed)?;
    decode_device(tenant, id, head, &BTreeMap::new())
}

fn check_version(bytes: &mut Bytes<'_>) -> Result<(), DamagedState> {
    match bytes.u8()? {
        VERSION => Ok(()),
        _ => Err(bytes.damaged("the state has another layout than this version reads")),
    }
}
