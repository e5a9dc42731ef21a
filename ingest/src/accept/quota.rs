//! What a tenant may still use of the day.

use laneway_log::Records;
use laneway_tenancy::Authenticated;
use laneway_tenancy::quota::{Admission, Exceeded};

use super::{Accept, Refused};

impl Accept {
    /// Refuses a request of a tenant that has nothing left, before any work is done for it.
    pub(super) fn check_quotas(&self, who: &Authenticated, now_us: i64) -> Result<(), Refused> {
        let limits = &who.tenant.body.limits;
        self.quotas
            .check(who.scope.tenant(), limits, now_us)
            .map_err(|exceeded| self.exceeded(exceeded))
    }

    /// Takes records from the quotas, all or none.
    pub(super) fn take_quotas(
        &self,
        who: &Authenticated,
        records: &Records,
        now_us: i64,
    ) -> Result<Admission, Refused> {
        if records.is_empty() {
            return Ok(Admission::default());
        }
        let amount = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let amounts = [amount(records.len()), amount(records.bytes())];
        let limits = &who.tenant.body.limits;
        self.quotas
            .admit(who.scope.tenant(), limits, amounts, now_us)
            .map_err(|exceeded| self.exceeded(exceeded))
    }

    fn exceeded(&self, exceeded: Exceeded) -> Refused {
        self.metrics.quota_exceeded.increment(1);
        Refused::QuotaExceeded(exceeded)
    }
}
