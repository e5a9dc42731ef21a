//! Notices of what is seen of all tenants together: destinations whose breaker is open, and
//! quotas that are nearly used up. How many, never whose.

use std::time::Duration;

use laneway_notices::{Kind, Saying, Severity};
use laneway_runtime::Lifecycle;
use laneway_tenancy::quota::day_of_us;

use crate::Control;

const LEASE: &str = "notices";
const LEASE_US: i64 = 60_000_000;
const EVERY: Duration = Duration::from_secs(10);

/// What was said last, by this node.
#[derive(Default)]
struct Seen {
    breakers_open: usize,
    /// On that day.
    quotas_warned: (i64, u64),
}

/// Looks every ten seconds until the drain. One control node at a time does.
pub(crate) async fn run(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            () = &mut draining => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = look(control, &mut seen).await {
            tracing::debug!(
                error = format!("{error:#}"),
                "notices are looked for again later"
            );
        }
    }
}

async fn look(control: &Control, seen: &mut Seen) -> anyhow::Result<()> {
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let leases = deps.store.leases(&deps.authority);
    if !leases
        .take(LEASE, &deps.settings.node, now, LEASE_US)
        .await?
    {
        return Ok(());
    }
    let open = control.deliveries.breakers_open(&deps.codecs).await;
    if let Some(open) = open.filter(|open| *open != seen.breakers_open) {
        deps.announcer.announce(of_breakers(open));
        seen.breakers_open = open;
    }
    let today = day_of_us(now);
    let warned = deps
        .store
        .quota_warnings(&deps.authority)
        .count(today)
        .await?;
    if warned > 0 && (today, warned) != seen.quotas_warned {
        deps.announcer.announce(of_quotas(warned));
    }
    seen.quotas_warned = (today, warned);
    Ok(())
}

fn of_breakers(open: usize) -> Saying {
    let (severity, title) = match open {
        0 => (
            Severity::Info,
            "All destinations are delivered to".to_owned(),
        ),
        1 => (
            Severity::Warning,
            "Deliveries to 1 destination wait".to_owned(),
        ),
        n => (
            Severity::Warning,
            format!("Deliveries to {n} destinations wait"),
        ),
    };
    Saying::new(Kind::Breaker, severity, title).with("open", open)
}

fn of_quotas(warned: u64) -> Saying {
    let title = match warned {
        1 => "1 quota is nearly used up today".to_owned(),
        n => format!("{n} quotas are nearly used up today"),
    };
    Saying::new(Kind::Quota, Severity::Info, title).with("warned", warned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_counts_and_names_nobody() {
        assert_eq!(of_breakers(0).severity, Severity::Info);
        assert_eq!(of_breakers(1).title, "Deliveries to 1 destination wait");
        assert_eq!(of_breakers(3).details["open"], "3");
        assert_eq!(of_quotas(1).title, "1 quota is nearly used up today");
        assert_eq!(of_quotas(2).details["warned"], "2");
    }
}
