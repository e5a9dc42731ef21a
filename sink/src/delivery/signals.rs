//! What sinks tell each other of destinations, and what is asked of them: the compacted topic
//! `sink-signals`, which every sink reads whole. The health of a destination is written by
//! whoever learns something new of it; the last word counts, and survives restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use laneway_log::{Batch, Follower, Log, RecordRef, Records, Topic};
use laneway_runtime::{Clock, Lifecycle};
use laneway_schemas::sink::health_key;
use laneway_schemas::{Codecs, DestinationHealth, DestinationRedrive};
use laneway_tenancy::{DestinationId, TenantId};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::breaker::{Breaker, Health};
use super::redrives::{Redrive, Redrives};

const RETRY: Duration = Duration::from_millis(500);
/// Breakers that nobody uses are kept up to so many.
const UNUSED: usize = 1024;

pub struct Signals {
    log: Arc<dyn Log>,
    codecs: Arc<Codecs>,
    clock: Arc<dyn Clock>,
    instance: String,
    breaker_failures: u32,
    backoff: Backoff,
    known: Mutex<Known>,
    /// What is still to be written, the last word of each key.
    outgoing: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
    ready: Notify,
    heard: broadcast::Sender<DestinationId>,
    caught_up: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    breakers: HashMap<DestinationId, Arc<Breaker>>,
    /// As last told, of those destinations that wait: breakers made later begin with it.
    open: HashMap<DestinationId, DestinationHealth>,
    redrives: HashMap<DestinationId, Arc<Redrives>>,
}

impl Signals {
    pub fn new(
        log: Arc<dyn Log>,
        codecs: Arc<Codecs>,
        clock: Arc<dyn Clock>,
        instance: String,
        (breaker_failures, backoff): (u32, Backoff),
    ) -> Self {
        Signals {
            log,
            codecs,
            clock,
            instance,
            breaker_failures,
            backoff,
            known: Mutex::default(),
            outgoing: Mutex::default(),
            ready: Notify::new(),
            heard: broadcast::channel(1024).0,
            caught_up: watch::channel(false).0,
        }
    }

    /// Reads and writes until the drain.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        tokio::select! {
            () = lifecycle.draining() => {}
            () = self.follow() => {}
            () = self.write() => {}
        }
        Ok(())
    }

    /// Resolves once everything that was told before has been read.
    pub async fn caught_up(&self) {
        // The sender lives as long as `self`.
        let _ = self.caught_up.subscribe().wait_for(|done| *done).await;
    }

    /// Destinations that something was heard of. Who lags looks at all of them.
    pub fn heard(&self) -> broadcast::Receiver<DestinationId> {
        self.heard.subscribe()
    }

    /// The health of a destination, the same for all of its lanes here.
    pub fn breaker(&self, id: DestinationId) -> Arc<Breaker> {
        let mut known = self.known();
        if let Some(breaker) = known.breakers.get(&id) {
            return Arc::clone(breaker);
        }
        // Those of destinations that are gone are nobody else's.
        if known.breakers.len() > UNUSED {
            known.breakers.retain(|_, b| Arc::strong_count(b) > 1);
        }
        let breaker = Arc::new(Breaker::new(self.breaker_failures, self.backoff));
        if let Some(told) = known.open.get(&id) {
            breaker.heard(Instant::now(), &self.health(told), self.is_own(told));
        }
        known.breakers.insert(id, Arc::clone(&breaker));
        breaker
    }

    pub fn redrives(&self, id: DestinationId) -> Option<Arc<Redrives>> {
        self.known().redrives.get(&id).cloned()
    }

    /// Tells the others how a destination is.
    pub fn tell(&self, tenant: TenantId, id: DestinationId, health: &Health) {
        let now_us = self.clock.now_us();
        let waits = health
            .waits
            .map(|w| i64::try_from(w.as_micros()).unwrap_or(i64::MAX));
        let record = DestinationHealth {
            tenant_id: tenant.to_string(),
            destination_id: id.to_string(),
            open: waits.is_some(),
            until: now_us.saturating_add(waits.unwrap_or(0)),
            opened: i32::try_from(health.opened).unwrap_or(i32::MAX),
            error: health.error.as_ref().map(|(error, _)| error.to_string()),
            failed_at: health.error.as_ref().map(|(_, at)| *at),
            instance: self.instance.clone(),
        };
        let mut value = Vec::new();
        match self.codecs.encode(&record, &mut value) {
            Ok(()) => self.send(health_key(tenant, id), Some(value)),
            Err(error) => {
                tracing::error!(destination = %id, %error, "a destination's health cannot be encoded");
            }
        }
    }

    /// Forgets a key for everyone.
    pub fn forget(&self, key: String) {
        self.send(key, None);
    }

    fn send(&self, key: String, value: Option<Vec<u8>>) {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        outgoing.insert(key, value);
        self.ready.notify_one();
    }

    async fn write(&self) {
        loop {
            self.ready.notified().await;
            let mut news =
                std::mem::take(&mut *self.outgoing.lock().unwrap_or_else(PoisonError::into_inner));
            while let Err(error) = self.log.append(self.records(&news)).await {
                tracing::warn!(%error, "what is known of destinations cannot be told; trying again");
                tokio::time::sleep(RETRY).await;
                let newer = std::mem::take(
                    &mut *self.outgoing.lock().unwrap_or_else(PoisonError::into_inner),
                );
                news.extend(newer);
            }
        }
    }

    fn records(&self, news: &BTreeMap<String, Option<Vec<u8>>>) -> Records {
        let now_ms = self.clock.now_ms();
        let mut records = Records::new();
        for (key, value) in news {
            let key = key.as_bytes();
            match value {
                Some(value) => records.push(Topic::SinkSignals, 0, now_ms, key, [], value),
                None => records.push_tombstone(Topic::SinkSignals, 0, now_ms, key),
            }
        }
        records
    }

    async fn follow(&self) {
        let mut follower = Follower::new(Arc::clone(&self.log), Topic::SinkSignals);
        loop {
            let batch = follower.next().await;
            self.read(&batch).await;
            if follower.is_caught_up() {
                self.caught_up.send_replace(true);
            }
        }
    }

    async fn read(&self, batch: &Batch) {
        for record in batch.iter() {
            let Some((id, about)) = subject(record.key) else {
                continue;
            };
            while let Err(error) = self.hear(id, &about, &record).await {
                if error.is_fault_of_record() {
                    tracing::error!(offset = record.offset, %error, "a signal cannot be read; it is passed over");
                    break;
                }
                tracing::warn!(%error, "a signal cannot be read yet; trying again");
                tokio::time::sleep(RETRY).await;
            }
            // Nobody listening is fine.
            let _ = self.heard.send(id);
        }
    }

    async fn hear(
        &self,
        id: DestinationId,
        about: &About<'_>,
        record: &RecordRef<'_>,
    ) -> Result<(), laneway_schemas::DecodeError> {
        let Some(value) = record.value else {
            let mut known = self.known();
            let Known { open, redrives, .. } = &mut *known;
            match about {
                About::Health => {
                    open.remove(&id);
                }
                About::Letters(event) => {
                    let Some(redrives) = redrives.get_mut(&id).map(Arc::make_mut) else {
                        return Ok(());
                    };
                    match event {
                        Some(event) => {
                            redrives.events.remove(*event);
                        }
                        None => redrives.all = None,
                    }
                }
            }
            if redrives
                .get(&id)
                .is_some_and(|r| **r == Redrives::default())
            {
                redrives.remove(&id);
            }
            return Ok(());
        };
        if let About::Health = about {
            let told: DestinationHealth = self.codecs.decode_loading(value).await?;
            let mut known = self.known();
            if let Some(breaker) = known.breakers.get(&id) {
                breaker.heard(Instant::now(), &self.health(&told), self.is_own(&told));
            }
            if told.open {
                known.open.insert(id, told);
            } else {
                known.open.remove(&id);
            }
            metrics::gauge!("laneway_sink_breakers_open").set(known.open.len() as f64);
            return Ok(());
        }
        let asked: DestinationRedrive = self.codecs.decode_loading(value).await?;
        let mut known = self.known();
        let redrives = Arc::make_mut(known.redrives.entry(id).or_default());
        match (asked.event_id, asked.lane.map(u32::try_from)) {
            (Some(event), Some(Ok(lane))) => {
                let requested_at = asked.requested_at;
                redrives
                    .events
                    .insert(event, Redrive { lane, requested_at });
            }
            _ => redrives.all = Some(asked.requested_at),
        }
        Ok(())
    }

    fn is_own(&self, told: &DestinationHealth) -> bool {
        told.instance == self.instance
    }

    fn health(&self, told: &DestinationHealth) -> Health {
        let left = told.until.saturating_sub(self.clock.now_us());
        let waits = Duration::from_micros(u64::try_from(left).unwrap_or(0));
        let error = told.error.as_deref().map(Into::into);
        Health {
            waits: told.open.then_some(waits),
            opened: u32::try_from(told.opened).unwrap_or(0),
            error: error.zip(told.failed_at),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a signal is about.
#[derive(Debug, PartialEq, Eq)]
enum About<'a> {
    Health,
    /// A request for one dead letter, or for all.
    Letters(Option<&'a str>),
}

fn subject(key: &[u8]) -> Option<(DestinationId, About<'_>)> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(4, '/');
    let (_tenant, id) = (parts.next()?, parts.next()?.parse().ok()?);
    let about = match (parts.next(), parts.next()) {
        (None, _) => About::Health,
        (Some("redrive"), None) => About::Letters(None),
        (Some("redrive"), Some(event)) => About::Letters(Some(event)),
        _ => return None,
    };
    Some((id, about))
}

#[cfg(test)]
mod tests {
    use laneway_schemas::sink::redrive_key;

    use super::*;

    #[test]
    fn a_key_says_what_the_signal_is_about() {
        let (tenant, id) = (TenantId::from_u128(1), DestinationId::from_u128(2));
        let all = redrive_key(tenant, id, None);
        let one = redrive_key(tenant, id, Some("abc.1"));
        for (key, about) in [
            (health_key(tenant, id), About::Health),
            (all, About::Letters(None)),
            (one, About::Letters(Some("abc.1"))),
        ] {
            assert_eq!(subject(key.as_bytes()), Some((id, about)), "{key}");
        }
        assert_eq!(subject(b"ten_x/dst_y"), None);
    }
}
