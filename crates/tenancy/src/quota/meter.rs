//! What may be let through of a tenant's quotas.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Account, Quota, day_of_us, wait_s};
use crate::TenantId;
use crate::control::Limits;

/// A quota that does not have what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub quota: Quota,
    pub used: i64,
    pub limit: u64,
    /// Of the request; zero where nothing is left whatever it is.
    pub asked: i64,
    /// For `Retry-After`.
    pub retry_after_s: u32,
}

/// What was taken, to be given back where it came to nothing.
#[derive(Debug, Default)]
#[must_use]
pub struct Admission(Option<(Arc<Account>, [i64; 2])>);

impl Admission {
    /// Nothing was let through after all.
    pub fn give_back(self) {
        if let Some((account, amounts)) = self.0 {
            account.add(amounts.map(|n| -n));
        }
    }
}

/// The accounts of one node. Bounded: what nobody asks for gives way. What is beyond twice the
/// bound is let through until then.
pub struct QuotaMeter {
    most: usize,
    serial: AtomicU64,
    accounts: RwLock<HashMap<(TenantId, i64), Arc<Account>>>,
}

impl QuotaMeter {
    pub fn new(most: usize) -> Self {
        QuotaMeter {
            most: most.max(16),
            serial: AtomicU64::new(0),
            accounts: RwLock::default(),
        }
    }

    /// Whether anything may be let through at all: asked before any work is done for a request.
    pub fn check(&self, tenant: TenantId, limits: &Limits, now_us: i64) -> Result<(), Exceeded> {
        let Some(account) = self.of(tenant, limits, now_us) else {
            return Ok(());
        };
        account.touch();
        left(&account, limits, [0, 0], now_us)
    }

    /// Takes so many events and bytes from the quotas that the tenant has, all or nothing.
    pub fn admit(
        &self,
        tenant: TenantId,
        limits: &Limits,
        amounts: [i64; 2],
        now_us: i64,
    ) -> Result<Admission, Exceeded> {
        let Some(account) = self.of(tenant, limits, now_us) else {
            return Ok(Admission::default());
        };
        account.add(amounts);
        let judged = left(&account, limits, amounts, now_us);
        let admission = Admission(Some((account, amounts)));
        match judged {
            Ok(()) => Ok(admission),
            Err(exceeded) => {
                admission.give_back();
                Err(exceeded)
            }
        }
    }

    /// Who has no quota has no account.
    fn of(&self, tenant: TenantId, limits: &Limits, now_us: i64) -> Option<Arc<Account>> {
        let any = Quota::ALL.into_iter().any(|quota| quota.limit(limits) > 0);
        any.then(|| self.account(tenant, day_of_us(now_us)))?
    }

    fn account(&self, tenant: TenantId, day: i64) -> Option<Arc<Account>> {
        let key = (tenant, day);
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(&key) {
            return Some(Arc::clone(account));
        }
        drop(accounts);
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= 2 * self.most && !accounts.contains_key(&key) {
            return None;
        }
        let account = accounts.entry(key).or_insert_with(|| {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            Arc::new(Account::new(tenant, day, serial))
        });
        Some(Arc::clone(account))
    }

    /// All accounts, for an exchange.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().cloned().collect()
    }

    /// Forgets accounts of past days once all nodes know of them and, where there are too many,
    /// those that nobody asks for.
    pub fn forget(&self, today: i64) {
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut excess = accounts.len().saturating_sub(self.most);
        accounts.retain(|(_, day), account| {
            let past = *day < today;
            let goes = account.is_said() && (past || (excess > 0 && !account.is_touched()));
            excess -= usize::from(goes && excess > 0);
            !goes
        });
    }
}

/// Whether every quota has what was asked for, `amounts` of which are taken already.
fn left(
    account: &Account,
    limits: &Limits,
    amounts: [i64; 2],
    now_us: i64,
) -> Result<(), Exceeded> {
    for quota in Quota::ALL {
        let (limit, asked) = (quota.limit(limits), amounts[quota as usize]);
        if limit == 0 {
            continue;
        }
        let used = account.used(quota) - asked;
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        // One more at least.
        if used.saturating_add(asked.max(1)) > most {
            return Err(Exceeded {
                quota,
                used,
                limit,
                asked,
                retry_after_s: wait_s(now_us),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 86_400_000_000 * 20_000 + 43_200_000_000;

    fn limits(events: u64, bytes: u64) -> Limits {
        Limits {
            events_per_day: events,
            bytes_per_day: bytes,
            ..Limits::default()
        }
    }

    fn tenant() -> TenantId {
        TenantId::from_u128(7)
    }

    #[test]
    fn a_quota_lets_through_what_it_has_and_begins_anew_at_midnight() {
        let meter = QuotaMeter::new(16);
        let limits = limits(10, 0);
        assert!(meter.admit(tenant(), &limits, [8, 800], NOON).is_ok());
        let refused = meter.admit(tenant(), &limits, [3, 300], NOON).unwrap_err();
        assert_eq!(
            (refused.used, refused.limit, refused.asked),
            (8, 10, 3),
            "a refused batch takes nothing"
        );
        meter.check(tenant(), &limits, NOON).unwrap();
        assert!(meter.admit(tenant(), &limits, [2, 200], NOON).is_ok());
        let spent = meter.check(tenant(), &limits, NOON).unwrap_err();
        assert_eq!((spent.quota, spent.used), (Quota::Events, 10));
        let midnight = NOON + 43_200_000_000;
        assert!(meter.admit(tenant(), &limits, [10, 1], midnight).is_ok());
    }

    #[test]
    fn what_came_to_nothing_is_given_back() {
        let meter = QuotaMeter::new(16);
        let limits = limits(0, 100);
        meter
            .admit(tenant(), &limits, [1, 100], NOON)
            .unwrap()
            .give_back();
        assert!(meter.admit(tenant(), &limits, [1, 100], NOON).is_ok());
        let refused = meter.admit(tenant(), &limits, [1, 1], NOON).unwrap_err();
        assert_eq!((refused.quota, refused.used), (Quota::Bytes, 100));
    }

    #[test]
    fn no_quota_keeps_no_account() {
        let meter = QuotaMeter::new(16);
        let limits = limits(0, 0);
        assert!(meter.admit(tenant(), &limits, [1_000_000, 1], NOON).is_ok());
        meter.check(tenant(), &limits, NOON).unwrap();
        assert!(meter.accounts().is_empty());
    }

    #[test]
    fn what_other_nodes_let_through_counts_and_what_was_said_is_not_counted_twice() {
        let meter = QuotaMeter::new(16);
        let limits = limits(100, 0);
        assert!(meter.admit(tenant(), &limits, [10, 1], NOON).is_ok());
        let account = &meter.accounts()[0];
        let own = account.own();
        assert!(account.take_touched() && !account.is_said());
        account.set_said(own);
        // Between what was said and the answer, more is let through.
        assert!(meter.admit(tenant(), &limits, [5, 1], NOON).is_ok());
        account.set_total([90, 900], own);
        assert_eq!(account.used(Quota::Events), 95);
        assert!(meter.admit(tenant(), &limits, [6, 1], NOON).is_err());
        assert!(meter.admit(tenant(), &limits, [5, 1], NOON).is_ok());
    }

    #[test]
    fn accounts_are_bounded_and_go_once_they_are_said() {
        let meter = QuotaMeter::new(16);
        let limits = limits(100, 0);
        let of = TenantId::from_u128;
        for id in 0..100 {
            assert!(meter.admit(of(id), &limits, [1, 1], NOON).is_ok());
        }
        assert_eq!(meter.accounts().len(), 32);
        for account in meter.accounts() {
            account.take_touched();
        }
        let today = day_of_us(NOON);
        meter.forget(today);
        assert_eq!(meter.accounts().len(), 32, "nothing of it was said");
        for account in meter.accounts() {
            account.set_said(account.own());
        }
        meter.forget(today);
        assert_eq!(meter.accounts().len(), 16);
        meter.forget(today + 1);
        assert!(meter.accounts().is_empty());
    }
}
