//! Proving hosts again. One control node does so at a time, under a lease; hosts come due at
//! different times, so that they are not all asked for at once.

use std::time::Duration;

use futures_util::StreamExt;
use laneway_runtime::Lifecycle;
use laneway_store::{Host, HostProof, StoreError};
use laneway_tenancy::control::HostState;
use laneway_tenancy::{Random, TenantId};

use super::AT_ONCE;
use crate::Control;

const LEASE: &str = "host-proofs";
/// Longer than a round takes: its proofs end within `hosts.proof.timeout_ms` each, eight at a time.
const LEASE_US: i64 = 300_000_000;
/// Hosts of one round.
const ROUND: u32 = 40;

/// Proves what is due, until the drain.
pub(crate) async fn prove_again(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let every = Duration::from_millis(control.prover.settings().look_every_ms.max(1));
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => break,
            () = tokio::time::sleep(every) => {}
        }
        let round = async {
            if let Err(error) = control.prove_due().await {
                tracing::warn!(%error, "hosts are not proved again; trying later");
            }
        };
        tokio::select! {
            () = &mut draining => break,
            () = round => {}
        }
    }
    let deps = &control.deps;
    let leases = deps.store.leases(&deps.authority);
    if let Err(error) = leases.release(LEASE, &deps.settings.node).await {
        tracing::warn!(%error, "the lease of host proofs runs out by itself");
    }
    Ok(())
}

impl Control {
    async fn prove_due(&self) -> Result<(), StoreError> {
        let deps = &self.deps;
        let now = deps.clock.now_us();
        let due = deps
            .store
            .host_proofs(&deps.authority)
            .due(now, ROUND)
            .await?;
        let leases = deps.store.leases(&deps.authority);
        if due.is_empty()
            || !leases
                .take(LEASE, &deps.settings.node, now, LEASE_US)
                .await?
        {
            return Ok(());
        }
        let proofs = futures_util::stream::iter(due)
            .map(|(tenant, host)| self.prove_one(tenant, host))
            .buffer_unordered(AT_ONCE);
        proofs
            .fold(Ok(()), |all, one| async move { all.and(one) })
            .await
    }

    async fn prove_one(&self, tenant: TenantId, host: Host) -> Result<(), StoreError> {
        let deps = &self.deps;
        let outcome = self.prover.prove(&host.host, &host.token).await;
        let at = deps.clock.now_us();
        let settings = self.prover.settings();
        let grace = micros(settings.grace_seconds);
        let since = host.proved_at.unwrap_or(host.created_at);
        let wait = if outcome.is_ok() {
            settings.again_seconds
        } else {
            settings.retry_seconds
        };
        let proof = HostProof {
            at,
            next: at + spread(micros(wait), &*deps.random),
            stops: at - since > grace,
            outcome,
        };
        let scope = deps.authority.scope(tenant);
        let hosts = deps.store.hosts(&scope);
        let noted = match hosts.note(&host.host, proof.clone()).await {
            // Proved, but meanwhile it is another tenant's.
            Err(StoreError::Exists { what }) => {
                let outcome = Err(format!("{what} exists already"));
                hosts.note(&host.host, HostProof { outcome, ..proof }).await
            }
            // Deleted meanwhile.
            Err(StoreError::Missing { .. }) => return Ok(()),
            noted => noted,
        }?;
        if host.state == HostState::Live && noted.state == HostState::Failing {
            metrics::counter!("laneway_hosts_failed_total").increment(1);
            tracing::warn!(%tenant, host = %host.host, problem = noted.problem, "a host is live no more: its proof has failed for too long");
        }
        Ok(())
    }
}

/// Within a tenth of it, so that what was proved together is not proved together for ever.
pub(crate) fn spread(us: i64, random: &dyn Random) -> i64 {
    let mut byte = [0u8; 1];
    random.fill(&mut byte);
    us - us / 10 + us / 5 * i64::from(byte[0]) / 255
}

pub(crate) fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Byte(u8);

    impl Random for Byte {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn hosts_that_are_proved_together_come_due_apart() {
        assert_eq!(spread(1000, &Byte(0)), 900);
        assert_eq!(spread(1000, &Byte(255)), 1100);
        assert!((1..255).all(|b| (900..=1100).contains(&spread(1000, &Byte(b)))));
    }
}
