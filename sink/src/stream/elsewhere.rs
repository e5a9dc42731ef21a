//! How many connections a tenant has open on the other sinks: its own limit holds over all of
//! them together.
//!
//! Each sink tells twice a second how many it has of every tenant that it was asked for a moment
//! ago, and asks at once for one that it knows nothing of. So what can be let in beyond a limit is
//! what the other sinks let in between two exchanges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use laneway_runtime::{Clock, Lifecycle};
use laneway_store::{Store, StoreError};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::limits::{EXCHANGE_MS, SHARE_EXPIRES_MS};
use laneway_tenancy::{TenantId, TenantInfo};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, timeout};

use super::connections::Connections;

const EVERY: Duration = Duration::from_millis(EXCHANGE_MS);
const EXPIRES_US: i64 = SHARE_EXPIRES_MS.cast_signed() * 1000;

/// What is known of a tenant with a limit, in microseconds.
struct Known {
    open: usize,
    /// Until when that counts.
    until: i64,
    /// Somebody wanted to know it last.
    asked_at: i64,
}

pub struct Elsewhere {
    store: Store,
    authority: RoleAuthority,
    clock: Arc<dyn Clock>,
    /// Tells the sinks apart.
    node: String,
    connections: Arc<Connections>,
    tenants: Mutex<BTreeMap<TenantId, Known>>,
    /// A tenant was asked for of which nothing is known.
    unknown: Notify,
    /// Changes with every exchange.
    exchanged: watch::Sender<()>,
}

impl Elsewhere {
    pub fn new(
        store: Store,
        authority: RoleAuthority,
        clock: Arc<dyn Clock>,
        node: String,
        connections: Arc<Connections>,
    ) -> Self {
        Elsewhere {
            store,
            authority,
            clock,
            node,
            connections,
            tenants: Mutex::default(),
            unknown: Notify::new(),
            exchanged: watch::Sender::default(),
        }
    }

    /// How many connections a tenant has open on the others, as far as that matters to its limit.
    /// While the store is away it is what was last known, and none once that has expired.
    pub async fn of(&self, tenant: &TenantInfo) -> usize {
        if tenant.body.limits.sockets == 0 {
            return 0;
        }
        if let Some(open) = self.ask(tenant.id) {
            return open;
        }
        let mut exchanged = self.exchanged.subscribe();
        self.unknown.notify_one();
        let told = exchanged.wait_for(|()| self.ask(tenant.id).is_some());
        let _ = timeout(EVERY, told).await;
        self.ask(tenant.id).unwrap_or(0)
    }

    fn ask(&self, tenant: TenantId) -> Option<usize> {
        let now = self.clock.now_us();
        let mut tenants = self.tenants();
        let known = tenants.entry(tenant).or_insert(Known {
            open: 0,
            until: now,
            asked_at: now,
        });
        known.asked_at = now;
        (known.until > now).then_some(known.open)
    }

    /// Exchanges until the drain, then takes back what it told: those who are sent away find room
    /// on the others.
    pub async fn run(self: Arc<Self>, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        let mut away = false;
        loop {
            tokio::select! {
                () = &mut draining => break,
                _ = tick.tick() => {}
                () = self.unknown.notified() => {}
            }
            let Some(open) = self.open() else { continue };
            let exchanged = self.exchange(&open).await;
            match (&exchanged, away) {
                (Err(error), false) => {
                    tracing::warn!(%error, "connections are not counted together with other nodes; each counts its own until they are");
                }
                (Ok(()), true) => {
                    tracing::info!("connections are counted together with other nodes again")
                }
                _ => {}
            }
            away = exchanged.is_err();
        }
        if self.open().is_some()
            && let Err(error) = self.exchange(&[]).await
        {
            tracing::debug!(%error, "what was told of connections expires by itself");
        }
        Ok(())
    }

    /// The connections of the tenants that have any here or were asked for; the others are
    /// forgotten. `None` where nothing was known of any.
    fn open(&self) -> Option<Vec<(TenantId, i64)>> {
        let now = self.clock.now_us();
        let mut tenants = self.tenants();
        if tenants.is_empty() {
            return None;
        }
        let mut all = Vec::new();
        tenants.retain(|tenant, known| {
            let open = self.connections.open_of(*tenant);
            let wanted = open > 0 || now - known.asked_at < EXPIRES_US;
            if wanted {
                all.push((*tenant, i64::try_from(open).unwrap_or(i64::MAX)));
            }
            wanted
        });
        Some(all)
    }

    async fn exchange(&self, open: &[(TenantId, i64)]) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let until = now + EXPIRES_US;
        let shares = self
            .store
            .socket_shares(&self.authority)
            .exchange(&self.node, open, now, until)
            .await?;
        let own: BTreeMap<TenantId, i64> = open.iter().copied().collect();
        let mut tenants = self.tenants();
        for share in shares {
            if let (Some(known), Some(own)) =
                (tenants.get_mut(&share.tenant), own.get(&share.tenant))
            {
                known.open = usize::try_from(share.total - own).unwrap_or(0);
                known.until = until;
            }
        }
        drop(tenants);
        self.exchanged.send_replace(());
        Ok(())
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeMap<TenantId, Known>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
