//! What the sinks say of destinations: how far each is, whether it waits, what it refused. Read
//! from the log, and answered from memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use laneway_log::{Batch, Follower, Log, Topic};
use laneway_runtime::{Lifecycle, Problem};
use laneway_schemas::sink::{DeadLetter, dead_letters_key, health_key, is_health_key};
use laneway_schemas::{Codecs, Contract, DestinationHealth, SinkCursor};
use laneway_tenancy::{DestinationId, TenantId};

use crate::error::{ApiError, ApiResult};

/// The last value of each key. Keys begin with the tenant.
#[derive(Default)]
struct Table {
    values: RwLock<Entries>,
    is_there: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Deliveries {
    cursors: Table,
    signals: Table,
}

/// A dead letter and where its event is.
pub(crate) struct Parked {
    pub letter: DeadLetter,
    pub lane: i32,
}

impl Deliveries {
    /// Follows what the sinks write, until the drain.
    pub(crate) async fn follow(
        &self,
        log: &Arc<dyn Log>,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = lifecycle.draining() => {}
            () = self.cursors.follow(log, Topic::SinkCursors) => {}
            () = self.signals.follow(log, Topic::SinkSignals) => {}
        }
        Ok(())
    }

    /// How far a destination is, in each lane that has something to say.
    pub(crate) async fn cursors(
        &self,
        codecs: &Codecs,
        tenant: TenantId,
        id: DestinationId,
    ) -> ApiResult<Vec<SinkCursor>> {
        let mut cursors = Vec::new();
        let dead = dead_letters_key(tenant, id);
        for (key, value) in self
            .cursors
            .of(&format!("{tenant}/{id}/"), "", usize::MAX)?
        {
            if !key.starts_with(dead.as_bytes()) {
                cursors.push(decode(codecs, &value).await?);
            }
        }
        Ok(cursors)
    }

    pub(crate) fn count_dead(&self, tenant: TenantId, id: DestinationId) -> ApiResult<usize> {
        self.cursors.count(&dead_letters_key(tenant, id))
    }

    /// Dead letters by event id, after one.
    pub(crate) async fn dead(
        &self,
        codecs: &Codecs,
        (tenant, id): (TenantId, DestinationId),
        after: &str,
        limit: usize,
    ) -> ApiResult<Vec<Parked>> {
        let mut found = Vec::new();
        for (_, value) in self
            .cursors
            .of(&dead_letters_key(tenant, id), after, limit)?
        {
            found.extend(parked(decode(codecs, &value).await?));
        }
        Ok(found)
    }

    pub(crate) async fn dead_letter(
        &self,
        codecs: &Codecs,
        (tenant, id): (TenantId, DestinationId),
        event: &str,
    ) -> ApiResult<Option<Parked>> {
        let key = format!("{}{event}", dead_letters_key(tenant, id));
        match self.cursors.get(&key)? {
            Some(value) => Ok(parked(decode(codecs, &value).await?)),
            None => Ok(None),
        }
    }

    /// Destinations that wait as a whole; `None` while they are still being read.
    pub(crate) async fn breakers_open(&self, codecs: &Codecs) -> Option<usize> {
        let signals = self.signals.of("", "", usize::MAX).ok()?;
        let mut open = 0;
        for (key, value) in signals {
            if is_health_key(&key) {
                let health: DestinationHealth = decode(codecs, &value).await.ok()?;
                open += usize::from(health.open);
            }
        }
        Some(open)
    }

    pub(crate) async fn health(
        &self,
        codecs: &Codecs,
        tenant: TenantId,
        id: DestinationId,
    ) -> ApiResult<Option<DestinationHealth>> {
        match self.signals.get(&health_key(tenant, id))? {
            Some(value) => decode(codecs, &value).await.map(Some),
            None => Ok(None),
        }
    }
}

fn parked(record: SinkCursor) -> Option<Parked> {
    let letter = serde_json::from_str(record.dead.as_deref()?);
    let letter = letter.inspect_err(|error| {
        tracing::error!(destination = record.destination_id, %error, "a dead letter cannot be read");
    });
    Some(Parked {
        letter: letter.ok()?,
        lane: record.lane,
    })
}

async fn decode<T: Contract>(codecs: &Codecs, value: &[u8]) -> ApiResult<T> {
    codecs.decode_loading(value).await.map_err(|error| {
        tracing::error!(%error, "what a sink has written cannot be read");
        if error.is_fault_of_record() {
            ApiError::internal()
        } else {
            Problem::unavailable("A schema cannot be loaded at the moment.").into()
        }
    })
}

type Entry = (Box<[u8]>, Box<[u8]>);
type Entries = BTreeMap<Box<[u8]>, Box<[u8]>>;

impl Table {
    async fn follow(&self, log: &Arc<dyn Log>, topic: Topic) {
        let mut follower = Follower::new(Arc::clone(log), topic);
        loop {
            let batch = follower.next().await;
            self.apply(&batch);
            if follower.is_caught_up() {
                self.is_there.store(true, Ordering::Release);
            }
        }
    }

    fn apply(&self, batch: &Batch) {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        for record in batch.iter() {
            match record.value {
                Some(value) => values.insert(record.key.into(), value.into()),
                None => values.remove(record.key),
            };
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> ApiResult<T> {
        if !self.is_there.load(Ordering::Acquire) {
            let problem = Problem::unavailable("What the sinks have written is still being read.");
            return Err(problem.into());
        }
        Ok(look(
            &self.values.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    fn get(&self, key: &str) -> ApiResult<Option<Box<[u8]>>> {
        self.read(|values| values.get(key.as_bytes()).cloned())
    }

    fn count(&self, prefix: &str) -> ApiResult<usize> {
        self.read(|values| range(values, prefix, "").count())
    }

    /// Entries whose keys begin so, after `after`.
    fn of(&self, prefix: &str, after: &str, limit: usize) -> ApiResult<Vec<Entry>> {
        self.read(|values| {
            range(values, prefix, after)
                .take(limit)
                .map(|(key, value)| (key.into(), value.into()))
                .collect()
        })
    }
}

fn range<'a>(
    values: &'a Entries,
    prefix: &'a str,
    after: &str,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let from: Box<[u8]> = format!("{prefix}{after}").into_bytes().into();
    values
        .range(from.clone()..)
        .skip_while(move |(key, _)| **key == from)
        .take_while(move |(key, _)| key.starts_with(prefix.as_bytes()))
        .map(|(key, value)| (&**key, &**value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_with_the_prefix_after_the_last_one() {
        let table = Table {
            is_there: true.into(),
            ..Table::default()
        };
        let keys = [
            "t/a/0",
            "t/a/dead/x",
            "t/a/dead/y",
            "t/a/dead/z",
            "t/b/dead/x",
        ];
        for key in keys {
            let mut values = table.values.write().unwrap();
            values.insert(key.as_bytes().into(), Box::default());
        }
        let found = |after: &str, limit| {
            let found = table.of("t/a/dead/", after, limit).unwrap();
            let key = |(key, _): (Box<[u8]>, _)| String::from_utf8(key.into()).unwrap();
            found.into_iter().map(key).collect::<Vec<_>>()
        };
        assert_eq!(found("", 2), ["t/a/dead/x", "t/a/dead/y"]);
        assert_eq!(found("x", 9), ["t/a/dead/y", "t/a/dead/z"]);
        assert_eq!(found("xx", 9), ["t/a/dead/y", "t/a/dead/z"]);
        assert_eq!(table.count("t/a/dead/").unwrap(), 3);
    }
}
