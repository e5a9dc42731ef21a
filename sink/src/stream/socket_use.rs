//! How many connections each tenant has open and for how long, by day: what metering is told.
//!
//! The time is exact: it is added up whenever a connection opens or closes. A process that is
//! killed loses what came after it last told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use laneway_runtime::{Clock, Lifecycle};
use laneway_store::{SocketUse, Store};
use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::quota::day_of_us;
use tokio::time::MissedTickBehavior;

use super::connections::Connections;

const DAY_US: i64 = 86_400_000_000;
const EVERY: Duration = Duration::from_secs(5);

/// Of one tenant on the day of its last change.
struct Now {
    open: i64,
    /// Up to when `seen` has added up.
    at: i64,
    seen: SocketUse,
    /// What of it was told last.
    told: Option<SocketUse>,
}

/// The tenants that had a connection, and what is not told yet: one entry a tenant and day.
#[derive(Default)]
pub struct SocketMeter {
    tenants: BTreeMap<TenantId, Now>,
    untold: BTreeMap<(TenantId, i64), SocketUse>,
}

impl SocketMeter {
    /// A tenant has `change` more connections than before.
    pub fn change(&mut self, tenant: TenantId, change: i64, now: i64) {
        let day = day_of_us(now);
        let known = self.tenants.entry(tenant).or_insert(Now {
            open: 0,
            at: now,
            seen: begin(tenant, day, 0),
            told: None,
        });
        advance(known, now, &mut self.untold);
        known.open += change;
        known.seen.peak = known.seen.peak.max(known.open);
    }

    /// What is to be told: each says all that was seen of its day.
    pub fn untold(&mut self, now: i64) -> Vec<SocketUse> {
        for known in self.tenants.values_mut().filter(|known| known.open > 0) {
            advance(known, now, &mut self.untold);
        }
        let untold = &mut self.untold;
        let news = |known: &&Now| known.told != Some(known.seen);
        for known in self.tenants.values().filter(news) {
            untold.insert((known.seen.tenant, known.seen.day), known.seen);
        }
        untold.values().copied().collect()
    }

    /// These were told. Who had no connection since is forgotten after the day.
    pub fn told(&mut self, told: &[SocketUse], now: i64) {
        for told in told {
            let key = (told.tenant, told.day);
            if self.untold.get(&key) == Some(told) {
                self.untold.remove(&key);
            }
            if let Some(known) = self.tenants.get_mut(&told.tenant)
                && known.seen.day == told.day
            {
                known.told = Some(*told);
            }
        }
        let today = day_of_us(now);
        self.tenants
            .retain(|_, known| known.open > 0 || known.seen.day >= today);
    }
}

fn begin(tenant: TenantId, day: i64, open: i64) -> SocketUse {
    SocketUse {
        tenant,
        day,
        peak: open,
        open_us: 0,
    }
}

/// Adds up to `now`, day by day.
fn advance(known: &mut Now, now: i64, untold: &mut BTreeMap<(TenantId, i64), SocketUse>) {
    let now = now.max(known.at);
    while known.seen.day < day_of_us(now) {
        let midnight = (known.seen.day + 1) * DAY_US;
        known.seen.open_us += known.open * (midnight - known.at);
        let tenant = known.seen.tenant;
        untold.insert((tenant, known.seen.day), known.seen);
        // Where nothing is open, the days between have nothing to say.
        let (day, at) = match known.open {
            0 => (day_of_us(now), now),
            _ => (known.seen.day + 1, midnight),
        };
        known.at = at;
        known.seen = begin(tenant, day, known.open);
    }
    known.seen.open_us += known.open * (now - known.at);
    known.at = now;
}

/// Tells the store of the connections of this process.
pub struct SocketReports {
    pub store: Store,
    pub authority: RoleAuthority,
    pub clock: Arc<dyn Clock>,
    /// Names this process over its restarts.
    pub node: String,
    /// When it was started, in microseconds: tells its lives apart.
    pub life: i64,
}

impl SocketReports {
    pub async fn run(
        self: Arc<Self>,
        connections: Arc<Connections>,
        lifecycle: Lifecycle,
    ) -> anyhow::Result<()> {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = lifecycle.draining() => return Ok(()),
                _ = every.tick() => self.tell(&connections).await,
            }
        }
    }

    /// What cannot be told now is told the next time.
    pub async fn tell(&self, connections: &Connections) {
        let now = self.clock.now_us();
        let untold = connections.metered(|meter| meter.untold(now));
        if untold.is_empty() {
            return;
        }
        let who = (self.node.as_str(), self.life);
        match self
            .store
            .meter_sockets(&self.authority, who, &untold)
            .await
        {
            Ok(()) => connections.metered(|meter| meter.told(&untold, now)),
            Err(error) => tracing::debug!(%error, "connections are metered later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_added_up_to_the_day_that_they_were_open_on() {
        let tenant = TenantId::from_u128(7);
        let mut meter = SocketMeter::default();
        let evening = DAY_US - 10;
        meter.change(tenant, 1, evening);
        meter.change(tenant, 1, evening + 4);
        meter.change(tenant, -1, evening + 6);
        let told = meter.untold(evening + 8);
        let seen = |day, peak, open_us| SocketUse {
            tenant,
            day,
            peak,
            open_us,
        };
        assert_eq!(told, [seen(0, 2, 4 + 2 * 2 + 2)]);
        meter.told(&told, evening + 8);
        // Over midnight and a whole day.
        let told = meter.untold(2 * DAY_US + 5);
        assert_eq!(told, [seen(0, 2, 12), seen(1, 1, DAY_US), seen(2, 1, 5)]);
        meter.told(&told, 2 * DAY_US + 5);
        assert_eq!(meter.untold(2 * DAY_US + 5), [], "nothing is new");
        meter.change(tenant, -1, 2 * DAY_US + 6);
        let told = meter.untold(9 * DAY_US);
        assert_eq!(told, [seen(2, 1, 6)]);
        meter.told(&told, 9 * DAY_US);
        assert_eq!(meter.untold(9 * DAY_US), []);
        assert!(meter.tenants.is_empty());
    }
}
