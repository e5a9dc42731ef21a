//! Quotas hold over all ingest nodes together: each says what it let through, and hears what is
//! used.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use laneway_runtime::{Clock, Lifecycle};
use laneway_store::{Admitted, Said, Store, StoreError};
use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::limits::EXCHANGE_MS;
use laneway_tenancy::quota::{Account, QuotaMeter, day_of_us};

/// Exchanges with the other nodes what was let through.
pub struct Quotas {
    store: Store,
    authority: RoleAuthority,
    clock: Arc<dyn Clock>,
    /// Tells the nodes apart, and the lives of a node.
    node: String,
}

/// An account that takes part in an exchange, and what this node let through of its tenant.
struct Part {
    account: Arc<Account>,
    own: [i64; 2],
}

impl Quotas {
    pub fn new(store: Store, clock: Arc<dyn Clock>, node: String) -> Self {
        Quotas {
            store,
            authority: RoleAuthority::for_role("ingest"),
            clock,
            node,
        }
    }

    /// Exchanges until the drain, and once more at its end. While the store is away each node
    /// goes by what it knew, and what it lets through itself.
    pub async fn run(self, meter: &QuotaMeter, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(EXCHANGE_MS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        let mut away = false;
        loop {
            let last = tokio::select! {
                () = &mut draining => true,
                _ = tick.tick() => false,
            };
            let exchanged = self.exchange(meter).await;
            match (&exchanged, away) {
                (Err(error), false) => {
                    tracing::warn!(%error, "use of quotas is not exchanged with other nodes; each goes by what it knew until it is");
                }
                (Ok(()), true) => tracing::info!("use of quotas is exchanged again"),
                _ => {}
            }
            away = exchanged.is_err();
            if last {
                return Ok(());
            }
        }
    }

    async fn exchange(&self, meter: &QuotaMeter) -> Result<(), StoreError> {
        let today = day_of_us(self.clock.now_us());
        let mut days: BTreeMap<i64, Vec<Part>> = BTreeMap::new();
        for account in meter.accounts() {
            if account.take_touched() || !account.is_said() {
                let own = account.own();
                let parts = days.entry(account.day).or_default();
                parts.push(Part { account, own });
            }
        }
        for (day, parts) in days {
            let exchanged = self.exchange_day(day, &parts).await;
            if exchanged.is_err() {
                parts.iter().for_each(|part| part.account.touch());
            }
            exchanged?;
        }
        meter.forget(today);
        Ok(())
    }

    async fn exchange_day(&self, day: i64, parts: &[Part]) -> Result<(), StoreError> {
        let said: Vec<Said> = parts
            .iter()
            .filter(|part| !part.account.is_said())
            .map(|part| Said {
                node: format!("{}.{}", self.node, part.account.serial),
                admitted: Admitted {
                    tenant: part.account.tenant,
                    events: part.own[0],
                    bytes: part.own[1],
                },
            })
            .collect();
        let tenants: Vec<TenantId> = parts.iter().map(|part| part.account.tenant).collect();
        let used = self
            .store
            .quotas(&self.authority)
            .exchange(day, &said, &tenants)
            .await?;
        let used: HashMap<TenantId, Admitted> = used.into_iter().map(|u| (u.tenant, u)).collect();
        for Part { account, own } in parts {
            account.set_said(*own);
            if let Some(used) = used.get(&account.tenant) {
                account.set_total([used.events, used.bytes], *own);
            }
        }
        Ok(())
    }
}
