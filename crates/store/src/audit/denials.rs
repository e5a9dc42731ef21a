//! Refusals on their way to the trail. The first of a kind is written at once; its repeats within
//! a minute are counted, and become one entry: so whoever is refused cannot fill the disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use laneway_tenancy::{Authenticated, TenantId};
use tokio::sync::Notify;

use super::entry::Facts;
use super::origin::{Personal, principal_name};
use crate::Store;
use crate::error::{Result, StoreError};

/// How long repeats are counted before they are written, in microseconds.
const WINDOW_US: i64 = 60_000_000;
/// How often it is looked at what is due.
const TICK: Duration = Duration::from_secs(1);
/// Bound on the last writing.
const LAST: Duration = Duration::from_secs(5);
/// Kinds of refusals that are told apart for one tenant within a window.
const KINDS_PER_TENANT: usize = 16;
/// Kinds of refusals that are kept of all tenants. About 500 bytes each.
const KINDS: usize = 65_536;
/// What stands for whatever a tenant has too much of.
const OTHERS: &str = "(others)";

/// A refusal.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Whose chain it is written to: the tenant of who was refused.
    pub chain: TenantId,
    pub facts: Facts,
    /// Of the first one; repeats may come from elsewhere.
    pub personal: Personal,
}

impl Denial {
    /// Of someone with valid credentials, who asked for what belongs to the tenant `named`.
    pub fn of(
        who: &Authenticated,
        address: Option<IpAddr>,
        (action, outcome): (&str, String),
        named: String,
        at: i64,
    ) -> Self {
        let home = who.home().tenant.id;
        Denial {
            chain: home,
            facts: Facts {
                at,
                action: action.to_owned(),
                outcome,
                principal: principal_name(who.scope.principal()),
                principal_tenant: home.to_string(),
                request_tenant: named,
                count: 1,
                first_at: at,
                last_at: at,
                ..Facts::default()
            },
            personal: Personal {
                address: address.map(|address| address.to_string()),
                ..Personal::default()
            },
        }
    }
}

/// What makes two refusals the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    chain: TenantId,
    principal: String,
    action: String,
    outcome: String,
    named: String,
}

#[derive(Debug)]
struct Counted {
    denial: Denial,
    /// Refusals that no entry has yet.
    unwritten: i64,
    first_at: i64,
    last_at: i64,
    /// From when on repeats are written.
    due_at: i64,
}

/// The refusals of one process. Shared by its requests.
pub struct Denials {
    store: Store,
    counted: Mutex<Table>,
    /// One writes at a time: what is being written is not written twice.
    writing: tokio::sync::Mutex<()>,
    fresh: Notify,
}

#[derive(Debug, Default)]
struct Table {
    kinds: HashMap<Kind, Counted>,
    /// How many kinds a tenant has.
    of_tenant: HashMap<TenantId, usize>,
}

impl Denials {
    pub fn new(store: Store) -> Self {
        Denials {
            store,
            counted: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            fresh: Notify::new(),
        }
    }

    /// Counts one. Does not wait. Answers whether it is the first of its kind, which [`flush`]
    /// writes.
    ///
    /// [`flush`]: Denials::flush
    pub fn note(&self, denial: Denial) -> bool {
        let first = self.table().note(denial);
        if first {
            self.fresh.notify_one();
        }
        first
    }

    /// Writes what is counted when it is due, until `stop`; then all of it. While the store is
    /// away it goes on counting.
    pub async fn run(&self, now_us: impl Fn() -> i64, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut away = false;
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.fresh.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
            let flushed = self.flush(now_us(), false).await;
            match (&flushed, away) {
                (Err(error), false) => {
                    tracing::warn!(%error, "refusals are not written to the audit trail; they are counted until they are");
                }
                (Ok(()), true) => tracing::info!("refusals are written to the audit trail again"),
                _ => {}
            }
            away = flushed.is_err();
        }
        let last = self.flush(now_us(), true);
        match tokio::time::timeout(LAST, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "counts of refusals are lost: they could not be written to the audit trail");
            }
            Err(_) => tracing::error!(
                "counts of refusals are lost: the store did not take them within {} s",
                LAST.as_secs()
            ),
        }
    }

    /// Writes what is due at `now`; all that is counted where `all`. What cannot be written is
    /// kept for the next time.
    pub async fn flush(&self, now: i64, all: bool) -> Result<()> {
        let _one = self.writing.lock().await;
        let due = self.table().take_due(now, all);
        let mut away = HashMap::new();
        for (chain, denials) in due {
            let written = self.write(chain, &denials, &mut away).await;
            if !written {
                let mut table = self.table();
                for denial in denials {
                    table.give_back(denial);
                }
            }
        }
        away.into_values().next().map_or(Ok(()), Err)
    }

    /// Whether they are written. Databases that are away are not asked again.
    async fn write(
        &self,
        chain: TenantId,
        denials: &[Denial],
        away: &mut HashMap<Option<Arc<str>>, StoreError>,
    ) -> bool {
        if away.contains_key(&None) {
            return false;
        }
        let home = match self.store.place(chain).await {
            Ok(place) => place.home,
            Err(error) => {
                away.insert(None, error);
                return false;
            }
        };
        if away.contains_key(&home) {
            return false;
        }
        match self.store.append_denials(chain, denials).await {
            Ok(()) => true,
            Err(error) => {
                away.insert(home, error);
                false
            }
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // What a panicking thread had counted still counts.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn note(&mut self, mut denial: Denial) -> bool {
        let at = denial.facts.at;
        let mut kind = Kind::of(&denial);
        if !self.kinds.contains_key(&kind) {
            let own = self.of_tenant.get(&denial.chain).copied().unwrap_or(0);
            if own >= KINDS_PER_TENANT || self.kinds.len() >= KINDS {
                kind = kind.others();
                denial.facts = Facts {
                    principal: OTHERS.to_owned(),
                    action: OTHERS.to_owned(),
                    outcome: kind.outcome.clone(),
                    request_tenant: OTHERS.to_owned(),
                    target: String::new(),
                    request_id: String::new(),
                    ..denial.facts
                };
                denial.personal = Personal::default();
            }
        }
        if let Some(counted) = self.kinds.get_mut(&kind) {
            counted.unwritten += 1;
            if counted.unwritten == 1 {
                counted.first_at = at;
            }
            counted.last_at = at;
            return false;
        }
        *self.of_tenant.entry(denial.chain).or_default() += 1;
        let counted = Counted {
            denial,
            unwritten: 1,
            first_at: at,
            last_at: at,
            due_at: at,
        };
        self.kinds.insert(kind, counted);
        true
    }

    /// What is to be written, by chain; forgets the kinds that were quiet for a window.
    fn take_due(&mut self, now: i64, all: bool) -> HashMap<TenantId, Vec<Denial>> {
        let mut due: HashMap<TenantId, Vec<Denial>> = HashMap::new();
        let of_tenant = &mut self.of_tenant;
        self.kinds.retain(|kind, counted| {
            if counted.due_at > now && !all {
                return true;
            }
            if counted.unwritten > 0 {
                let mut denial = counted.denial.clone();
                denial.facts.at = now;
                denial.facts.count = counted.unwritten;
                denial.facts.first_at = counted.first_at;
                denial.facts.last_at = counted.last_at;
                counted.unwritten = 0;
                counted.due_at = now.saturating_add(WINDOW_US);
                due.entry(kind.chain).or_default().push(denial);
                return true;
            }
            if let Some(own) = of_tenant.get_mut(&kind.chain) {
                *own -= 1;
                if *own == 0 {
                    of_tenant.remove(&kind.chain);
                }
            }
            false
        });
        due
    }

    /// Counts what could not be written once more.
    fn give_back(&mut self, denial: Denial) {
        let (count, first_at) = (denial.facts.count, denial.facts.first_at);
        if let Some(counted) = self.kinds.get_mut(&Kind::of(&denial)) {
            if counted.unwritten == 0 {
                counted.last_at = denial.facts.last_at;
            }
            counted.unwritten += count;
            counted.first_at = first_at;
            counted.due_at = denial.facts.at;
        }
    }
}

impl Kind {
    fn of(denial: &Denial) -> Self {
        let facts = &denial.facts;
        Kind {
            chain: denial.chain,
            principal: facts.principal.clone(),
            action: facts.action.clone(),
            outcome: facts.outcome.clone(),
            named: facts.request_tenant.clone(),
        }
    }

    /// The kind that stands for all further ones of its tenant.
    fn others(self) -> Self {
        Kind {
            principal: OTHERS.to_owned(),
            action: OTHERS.to_owned(),
            outcome: "refused".to_owned(),
            named: OTHERS.to_owned(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(tenant: u128, named: &str, at: i64) -> Denial {
        Denial {
            chain: TenantId::from_u128(tenant),
            facts: Facts {
                at,
                outcome: "403 tenant-mismatch".into(),
                request_tenant: named.into(),
                ..Facts::default()
            },
            personal: Personal::default(),
        }
    }

    fn counts(due: &HashMap<TenantId, Vec<Denial>>) -> Vec<(String, i64, i64, i64)> {
        let all = due.values().flatten().map(|d| &d.facts);
        all.map(|f| (f.request_tenant.clone(), f.count, f.first_at, f.last_at))
            .collect()
    }

    #[test]
    fn the_first_is_due_at_once_and_its_repeats_are_one_entry_a_window() {
        let mut table = Table::default();
        assert!(table.note(denial(1, "theirs", 10)));
        assert_eq!(
            counts(&table.take_due(11, false)),
            [("theirs".into(), 1, 10, 10)]
        );
        for at in 20..120 {
            assert!(!table.note(denial(1, "theirs", at)));
        }
        assert!(table.take_due(1000, false).is_empty());
        let later = 11 + WINDOW_US;
        assert_eq!(
            counts(&table.take_due(later, false)),
            [("theirs".into(), 100, 20, 119)]
        );
        assert!(table.take_due(later + WINDOW_US, false).is_empty());
        assert!(table.kinds.is_empty() && table.of_tenant.is_empty());
        assert!(table.note(denial(1, "theirs", later * 3)), "a first again");
    }

    #[test]
    fn whoever_names_ever_new_tenants_fills_nothing_but_still_is_counted() {
        let mut table = Table::default();
        for n in 0..10_000 {
            table.note(denial(1, &format!("t{n}"), n));
        }
        table.note(denial(2, "theirs", 5));
        assert_eq!(table.kinds.len(), KINDS_PER_TENANT + 2);
        let due = table.take_due(20_000, false);
        let all: i64 = counts(&due).iter().map(|c| c.1).sum();
        assert_eq!(all, 10_001);
    }

    #[test]
    fn what_could_not_be_written_is_written_later_with_what_came_meanwhile() {
        let mut table = Table::default();
        table.note(denial(1, "theirs", 10));
        let taken = table.take_due(11, false);
        table.note(denial(1, "theirs", 12));
        for denial in taken.into_values().flatten() {
            table.give_back(denial);
        }
        assert_eq!(
            counts(&table.take_due(13, false)),
            [("theirs".into(), 2, 10, 12)]
        );
    }
}
