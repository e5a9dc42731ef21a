//! Ids of fixes that are no points, in the state: the newest in the head, runs of the others in
//! records of their own.

use std::collections::BTreeMap;

use super::{StateBody, VERSION, check_version};
use crate::derive::seen::{Run, Seen};
use crate::derive::wire::{Bytes, DamagedState, put_i64, put_u64};

pub fn put_run(run: &Run, out: &mut Vec<u8>) {
    out.clear();
    out.push(VERSION);
    put_i64(out, run.last_at);
    put_ids(&run.ids, out);
}

pub fn put_seen(seen: &Seen, out: &mut Vec<u8>) {
    put_u64(out, u64::from(seen.first_run));
    put_u64(out, seen.runs.len() as u64);
    put_i64(out, seen.recent_last_at);
    put_ids(&seen.recent, out);
}

pub fn take_seen(
    bytes: &mut Bytes<'_>,
    parts: &BTreeMap<StateBody, Vec<u8>>,
) -> Result<Seen, DamagedState> {
    let first_run = bytes.u32()?;
    let count = bytes.u32()?;
    let mut seen = Seen {
        first_run,
        written_first: first_run,
        recent_last_at: bytes.i64()?,
        recent: take_ids(bytes)?,
        ..Seen::default()
    };
    for number in first_run..first_run.saturating_add(count) {
        let run = parts
            .get(&StateBody::Run(number))
            .ok_or_else(|| bytes.damaged("a run of ids is missing"))?;
        let mut run = Bytes::new(run);
        check_version(&mut run)?;
        let last_at = run.i64()?;
        let ids = take_ids(&mut run)?.into();
        seen.runs.push_back(Run { last_at, ids });
    }
    Ok(seen)
}

fn put_ids(ids: &[u64], out: &mut Vec<u8>) {
    put_u64(out, ids.len() as u64);
    for id in ids {
        out.extend_from_slice(&id.to_le_bytes());
    }
}

fn take_ids(bytes: &mut Bytes<'_>) -> Result<Vec<u64>, DamagedState> {
    (0..bytes.u32()?).map(|_| bytes.fixed_u64()).collect()
}
