//! Sessions in the state.

use laneway_schemas::Attributes;

use crate::derive::session::{Session, Totals};
use crate::derive::wire::{Bytes, DamagedState, put_bytes, put_f64, put_i64, put_u64};

const STARTED: u8 = 1;
const STOPPED: u8 = 2;
const EMITTED: u8 = 4;
const PENDING: u8 = 8;
const SEALED: u8 = 16;
const ATTRIBUTES: u8 = 32;

pub fn put_session(session: &Session, out: &mut Vec<u8>) {
    let mut flags = 0;
    for (flag, set) in [
        (STARTED, session.started_at.is_some()),
        (STOPPED, session.stopped_at.is_some()),
        (EMITTED, session.emitted_at.is_some()),
        (PENDING, session.pending),
        (SEALED, session.sealed.fixes > 0),
        (ATTRIBUTES, !session.stop_attributes.is_empty()),
    ] {
        flags |= if set { flag } else { 0 };
    }
    out.push(flags);
    out.push(session.slot);
    put_bytes(out, session.id.as_bytes());
    put_u64(out, u64::from(session.revision));
    for at in [session.started_at, session.stopped_at, session.emitted_at]
        .into_iter()
        .flatten()
    {
        put_i64(out, at);
    }
    if session.sealed.fixes > 0 {
        let sealed = &session.sealed;
        put_u64(out, sealed.fixes);
        put_f64(out, sealed.distance_m);
        put_i64(out, sealed.first_at);
        put_i64(out, sealed.last_at);
        put_f64(out, sealed.last_place.0);
        put_f64(out, sealed.last_place.1);
    }
    if !session.stop_attributes.is_empty() {
        put_u64(out, session.stop_attributes.len() as u64);
        for (name, value) in &session.stop_attributes {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        }
    }
}

pub fn take_session(bytes: &mut Bytes<'_>) -> Result<Session, DamagedState> {
    let flags = bytes.u8()?;
    let slot = bytes.u8()?;
    let id = bytes.text()?;
    let mut session = Session::new(id, slot, bytes.u32()?);
    session.pending = flags & PENDING != 0;
    session.started_at = take_time(bytes, flags & STARTED != 0)?;
    session.stopped_at = take_time(bytes, flags & STOPPED != 0)?;
    session.emitted_at = take_time(bytes, flags & EMITTED != 0)?;
    if flags & SEALED != 0 {
        session.sealed = Totals {
            fixes: bytes.u64()?,
            distance_m: bytes.f64()?,
            first_at: bytes.i64()?,
            last_at: bytes.i64()?,
            last_place: (bytes.f64()?, bytes.f64()?),
        };
    }
    if flags & ATTRIBUTES != 0 {
        let mut attributes = Attributes::new();
        for _ in 0..bytes.u32()? {
            let name = bytes.text()?.to_owned();
            attributes.insert(name, bytes.text()?.to_owned());
        }
        session.stop_attributes = attributes;
    }
    Ok(session)
}

fn take_time(bytes: &mut Bytes<'_>, present: bool) -> Result<Option<i64>, DamagedState> {
    present.then(|| bytes.i64()).transpose()
}
