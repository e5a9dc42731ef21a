//! Warnings that a quota is nearly used up: an event of the tenant as a whole, in its stream,
//! once a day and quota.
//!
//! The row that decides on it and the event are not one transaction. Whoever finds a row whose
//! event may be missing is the owner of the lane that the event goes to, and looks there: units
//! of work of an earlier owner are fenced, so that nothing can follow what it sees.

use foldhash::{HashMap, HashSet};
use laneway_directory::TenantEntry;
use laneway_log::{Committer, Epoch, LogError, Records, Topic, Unit};
use laneway_notices::WholeTenantEvent;
use laneway_schemas::{EventType, QuotaWarning};
use laneway_store::{QuotaWarningRow, StoreError, Warned};
use laneway_tenancy::TenantId;
use laneway_tenancy::quota::{Quota, day_of_us};
use xxhash_rust::xxh3::xxh3_128;

use super::MeteringDeps;
use crate::event::Time;
use crate::stored::StoredError;

/// Per cent of a quota, from which on its tenant is warned.
const WARN_AT: i128 = 80;

/// Tenants whose past is cleared away at a time, so that counting does not wait for it.
const CLEARED: usize = 20;

/// What a member remembers, so that it asks little.
#[derive(Default)]
pub struct Warner {
    day: i64,
    /// Warned on that day.
    warned: HashSet<(TenantId, Quota)>,
    /// The past of these tenants was cleared away on that day.
    cleared: HashSet<TenantId>,
}

impl Warner {
    /// Looks at the quotas of the tenants whose lane is owned, and warns those that are due.
    /// While the store is away nobody is warned.
    pub async fn look(
        &mut self,
        deps: &MeteringDeps,
        owned: impl Fn(u32) -> bool,
        committer: &dyn Committer,
        epoch: Epoch,
    ) -> Result<(), StoredError> {
        let now = deps.clock.now_us();
        let today = day_of_us(now);
        if self.day != today {
            *self = Warner {
                day: today,
                ..Warner::default()
            };
        }
        let mut tenants = deps.directory.tenants();
        tenants.retain(|t| t.deleted_at.is_none());
        let home = WholeTenantEvent::lane;
        let due = tenants.iter().filter(|t| owned(home(t)));
        let due = due.filter(|t| !self.cleared.contains(&t.id)).take(CLEARED);
        let due: Vec<TenantId> = due.map(|t| t.id).collect();
        for tenant in due {
            let keep = i64::from(deps.settings.device_days.max(2));
            let warnings = deps.store.quota_warnings(&deps.authority);
            passing(warnings.forget_before(tenant, today - keep).await)?;
            self.cleared.insert(tenant);
        }
        tenants.retain(|t| owned(home(t)) && self.is_due(t));
        if tenants.is_empty() {
            return Ok(());
        }
        let ids: Vec<TenantId> = tenants.iter().map(|t| t.id).collect();
        let quotas = deps.store.quotas(&deps.authority);
        let Some(used) = passing(quotas.exchange(today, &[], &ids).await)? else {
            return Ok(());
        };
        let used: HashMap<TenantId, _> = used.into_iter().map(|u| (u.tenant, u)).collect();
        for tenant in &tenants {
            let Some(used) = used.get(&tenant.id) else {
                continue;
            };
            for quota in Quota::ALL {
                let limit = quota.limit(&tenant.body.limits);
                let used = quota.of(used.events, used.bytes);
                if limit == 0 || self.warned.contains(&(tenant.id, quota)) {
                    continue;
                }
                if i128::from(used) * 100 < i128::from(limit) * WARN_AT {
                    continue;
                }
                let wanted = QuotaWarningRow {
                    tenant: tenant.id,
                    day: today,
                    quota: quota.name().to_owned(),
                    used,
                    limit: i64::try_from(limit).unwrap_or(i64::MAX),
                    warned_at: now,
                };
                if warn(deps, tenant, &wanted, committer, epoch).await? {
                    self.warned.insert((tenant.id, quota));
                }
            }
        }
        Ok(())
    }

    /// Whether it has a quota that it was not warned of today.
    fn is_due(&self, tenant: &TenantEntry) -> bool {
        let due = |quota: Quota| {
            quota.limit(&tenant.body.limits) > 0 && !self.warned.contains(&(tenant.id, quota))
        };
        Quota::ALL.into_iter().any(due)
    }
}

/// Whether the warning is in the stream.
async fn warn(
    deps: &MeteringDeps,
    tenant: &TenantEntry,
    wanted: &QuotaWarningRow,
    committer: &dyn Committer,
    epoch: Epoch,
) -> Result<bool, StoredError> {
    let warnings = deps.store.quota_warnings(&deps.authority);
    let lane = WholeTenantEvent::lane(tenant);
    let (decided, there) = match passing(warnings.decide(wanted).await)? {
        None => return Ok(false),
        Some(Warned::Written) => return Ok(true),
        Some(Warned::First(row)) => (row, false),
        Some(Warned::Unfinished(row)) => {
            let there = is_there(deps, &row, lane).await?;
            (row, there)
        }
    };
    if !there {
        let Some(records) = record(deps, &decided, lane) else {
            return Ok(false);
        };
        tracing::info!(tenant = %decided.tenant, quota = decided.quota, used = decided.used, limit = decided.limit,
            "a tenant is warned that a quota is nearly used up");
        let unit = Unit {
            epoch,
            records,
            offsets: Vec::new(),
        };
        committer.commit(unit).await?;
    }
    Ok(passing(warnings.written(&decided).await)?.is_some())
}

/// The event's record; `None` where it cannot be encoded, which is said.
fn record(deps: &MeteringDeps, warning: &QuotaWarningRow, lane: u32) -> Option<Records> {
    let (entity, tenant) = (entity_id(warning), warning.tenant.to_string());
    let event = QuotaWarning {
        entity_id: entity.clone(),
        revision: 1,
        tenant_id: tenant.clone(),
        day: date(warning.day),
        quota: warning.quota.clone(),
        used: warning.used,
        limit: warning.limit,
        warned_at: warning.warned_at,
    };
    let of = WholeTenantEvent {
        scope: &deps.authority.scope(warning.tenant),
        event_type: EventType::QuotaWarning,
        entity_id: &entity,
        source: &format!("/tenants/{tenant}"),
        at: warning.warned_at,
    };
    of.record(&deps.codecs, lane, &event)
        .inspect_err(|error| tracing::error!(tenant, %error, "a quota's warning cannot be encoded"))
        .ok()
}

/// Whether the stream has the event already. Reads to the very end: an earlier owner's last unit
/// is there.
async fn is_there(
    deps: &MeteringDeps,
    warning: &QuotaWarningRow,
    lane: u32,
) -> Result<bool, LogError> {
    let id = event_id(&entity_id(warning));
    let (log, topic) = (&deps.log, Topic::TenantStreams);
    let end = log.bounds(topic, lane).await?.end;
    let since_ms = warning.warned_at.div_euclid(1000);
    let mut next = log.offset_at(topic, lane, since_ms).await?;
    if next >= end {
        return Ok(false);
    }
    let mut reader = log.reader(topic, vec![(lane, next)]).await?;
    while next < end {
        let batch = reader.next().await?;
        let is_it = |headers: laneway_log::Headers<'_>| headers.get_str("ce_id") == Some(&id);
        if batch.iter().any(|record| is_it(record.headers)) {
            return Ok(true);
        }
        next = next.max(batch.next_offset());
    }
    Ok(false)
}

/// Trouble with the store that passes is no reason to stop counting.
fn passing<T>(asked: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match asked {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_transient() => {
            tracing::debug!(%error, "quotas are looked at again later");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The same for all who decide on it.
fn entity_id(warning: &QuotaWarningRow) -> String {
    let text = format!("{}/{}/{}", warning.tenant, warning.day, warning.quota);
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

fn event_id(entity: &str) -> String {
    format!("{entity}.1")
}

/// A day since 1970 as 2026-11-21.
fn date(day: i64) -> String {
    let mut buffer = [0; 27];
    let time = Time(day.saturating_mul(86_400_000_000)).write(&mut buffer);
    time.get(..10).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_has_the_same_id_whoever_gives_it_golden() {
        let warning = QuotaWarningRow {
            tenant: TenantId::from_u128(7),
            day: 20_778,
            quota: "events_per_day".to_owned(),
            used: 80,
            limit: 100,
            warned_at: 1,
        };
        let later = QuotaWarningRow {
            used: 90,
            warned_at: 2,
            ..warning.clone()
        };
        assert_eq!(entity_id(&warning), entity_id(&later));
        assert_eq!(date(warning.day), "2026-11-21");
    }
}
