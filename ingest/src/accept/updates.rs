//! A batch of fixes.

use std::borrow::Cow;

use laneway_log::Records;
use laneway_tenancy::Authenticated;
use laneway_tenancy::quota::Admission;
use xxhash_rust::xxh3::Xxh3;

use super::check::Valid;
use super::device::Sender;
use super::record::{Encoder, LocationUpdateRef, Place};
use super::sessions::SessionKey;
use super::{Accept, Note, Outcome, Prepared, Refused};
use crate::refusal::{Kind, Refusal};
use crate::wire::{Batch, Item};

/// More than what a record has beside its texts: numbers, lengths, ids of a fixed length.
const FIXED_BYTES: usize = 256;

/// What holds for all items of a batch.
struct Request<'a> {
    who: &'a Authenticated,
    sender: Sender<'a>,
    encoder: Encoder<'a>,
    control_version: i64,
    /// `recorded_at` beyond this is ahead of the server's clock.
    ahead_from: i64,
}

impl Accept {
    /// Judges every item and encodes what is accepted. What it returns is confirmed only after
    /// [`Accept::append`] has taken its records.
    pub fn updates<'a>(
        &self,
        who: &Authenticated,
        batch: Batch<'a>,
    ) -> Result<Prepared<'a>, Refused> {
        let sender = Sender::of(who, &self.directory)?;
        self.same_tenant(who, batch.tenant.as_deref())?;
        for item in &batch.items {
            self.same_tenant(who, item.fix.tenant.as_deref())?;
        }
        let received_at = self.clock.now_us();
        self.check_quotas(who, received_at)?;
        self.admit_all(who, &sender, &batch.items, received_at)?;
        let request = Request {
            who,
            control_version: sender.control_version(who),
            sender,
            encoder: Encoder {
                codecs: &self.codecs,
                received_at,
            },
            ahead_from: received_at
                .saturating_add(i64::from(who.tenant.body.limits.ahead_seconds) * 1_000_000),
        };
        let mut prepared = Prepared {
            records: Records::with_capacity(batch.items.len(), batch.items.len() * FIXED_BYTES),
            admission: Admission::default(),
            outcomes: Vec::with_capacity(batch.items.len()),
        };
        let mut place = None;
        for item in batch.items {
            let outcome = self.item(&request, item, &mut place, &mut prepared.records)?;
            if let Err(refusal) = &outcome.result {
                self.metrics.refused(refusal.kind);
            }
            prepared.outcomes.push(outcome);
        }
        prepared.admission = self.take_quotas(who, &prepared.records, received_at)?;
        Ok(prepared)
    }

    fn item<'a>(
        &self,
        request: &Request<'_>,
        item: Item<'a>,
        place: &mut Option<Place>,
        records: &mut Records,
    ) -> Result<Outcome<'a>, Refused> {
        let Item { mut fix, refusal } = item;
        let refused = |id, refusal| {
            Ok(Outcome {
                id,
                result: Err(refusal),
            })
        };
        if let Some(refusal) = refusal {
            return refused(fix.id, refusal);
        }
        let named = fix.device.take();
        let device = match request.sender.device(named.as_deref()) {
            Ok(device) => device,
            Err(refusal) => return refused(fix.id, refusal),
        };
        // Kept for a refusal's answer; borrowed, unless it was escaped.
        let id = fix.id.clone();
        let fix = match Valid::check(fix) {
            Ok(fix) => fix,
            Err(refusal) => return refused(id, refusal),
        };
        let bytes = FIXED_BYTES + fix.attributes.bytes() + fix.attributes.iter().len() * 4;
        let limit = self.log.max_record_bytes();
        if bytes > limit {
            let detail = format!(
                "The fix takes about {bytes} bytes, the log at most {limit}; send fewer attributes."
            );
            return refused(id, Refusal::new(Kind::RecordTooLarge, detail));
        }
        let place = match place {
            Some(place) if place.is_of(device) => place,
            place => place.insert(Place::of(request.who, device)),
        };
        let id = fix
            .id
            .unwrap_or_else(|| Cow::Owned(derived_id(device, fix.recorded_at)));
        let after_stop = fix.session.as_deref().is_some_and(|session| {
            let key = SessionKey::new(request.who.scope.tenant(), device, session);
            self.sessions
                .stopped(key)
                .is_some_and(|stopped_at| fix.recorded_at > stopped_at)
        });
        let note = if after_stop {
            Some(Note::AfterSessionStop)
        } else {
            (fix.recorded_at > request.ahead_from).then_some(Note::AheadOfClock)
        };
        let update = LocationUpdateRef {
            tenant_id: place.tenant(),
            device_id: device,
            fix_id: &id,
            session_id: fix.session.as_deref().filter(|_| !after_stop),
            recorded_at: fix.recorded_at,
            received_at: request.encoder.received_at,
            latitude: fix.latitude,
            longitude: fix.longitude,
            altitude_m: fix.altitude,
            accuracy_m: fix.accuracy,
            speed_mps: fix.speed,
            heading_deg: fix.heading,
            battery: fix.battery,
            attributes: &fix.attributes,
            control_version: request.control_version,
        };
        request.encoder.update(records, place, &update)?;
        Ok(Outcome {
            id: Some(id),
            result: Ok(note),
        })
    }

    /// Takes the whole batch from its devices' and its tenant's rates, or nothing.
    fn admit_all(
        &self,
        who: &Authenticated,
        sender: &Sender<'_>,
        items: &[Item<'_>],
        now_us: i64,
    ) -> Result<(), Refused> {
        let limits = &who.tenant.body.limits;
        if limits.events_per_second == 0 && limits.device_events_per_second == 0 {
            return Ok(());
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let admit = |devices: &[(&str, u32)]| {
            self.limiter
                .admit(who.scope.tenant(), devices, limits, now_us)
                .map_err(|limited| {
                    self.metrics.rate_limited.increment(1);
                    Refused::RateLimited(limited)
                })
        };
        if let Sender::Device(device) = sender {
            return admit(&[(device, count(items.len()))]);
        }
        let mut devices: Vec<&str> = items
            .iter()
            .map(|item| item.fix.device.as_deref().unwrap_or(""))
            .collect();
        devices.sort_unstable();
        let counted: Vec<(&str, u32)> = devices
            .chunk_by(|a, b| a == b)
            .map(|same| (same[0], count(same.len())))
            .collect();
        admit(&counted)
    }

    /// To be called once the records of [`Accept::updates`] are durable.
    pub fn confirmed(&self, who: &Authenticated, accepted: usize, refused: usize) {
        self.metrics.confirmed(&who.tenant, accepted, refused);
    }
}

/// The id of a fix that came without one: the same whenever the fix is sent again.
fn derived_id(device: &str, recorded_at: i64) -> String {
    let mut hash = Xxh3::new();
    hash.update(device.as_bytes());
    hash.update(b"/");
    hash.update(&recorded_at.to_le_bytes());
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::derived_id;

    #[test]
    fn derived_ids_never_change_golden() {
        assert_eq!(
            derived_id("truck-1", 1_795_226_839_123_456),
            "a6760d7163daa57aeb99e6d7fb3a44a1"
        );
        assert_ne!(derived_id("truck-1", 1), derived_id("truck-1", 2));
        assert_ne!(derived_id("truck-1", 1), derived_id("truck-2", 1));
    }
}
