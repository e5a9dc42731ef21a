//! What tenants use, by day (UTC).

mod date;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use laneway_store::{TenantUsage, UsageDay};
use laneway_tenancy::quota::{Quota, day_of_us};
use laneway_tenancy::{Grant, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery};
use crate::Control;
use crate::caller::{Acting, Operator};
use crate::error::{ApiError, ApiResult};
use crate::json::{Params, answer};

use date::{date, day};

/// Days of one answer.
const MOST_DAYS: i64 = 400;
/// Days of an answer where the request does not say which.
const USUAL_DAYS: i64 = 30;
/// Days that are looked back over for what is still kept.
const MOST_KEPT_DAYS: i64 = 4000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// First day, as `2026-11-21`; 29 days before the last one where it is not said.
    from: Option<String>,
    /// Last day; today where it is not said. At most 400 days at once.
    to: Option<String>,
    /// `csv` or `json`; else as `Accept` says, JSON where it says nothing.
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    Csv,
}

/// What was used on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct UsageDayView {
    #[schema(example = "2026-11-21")]
    day: String,
    /// Events accepted: fixes, and starts and stops of sessions.
    events: i64,
    /// Their bytes, as they are stored before compression.
    bytes: i64,
    /// Devices that sent any.
    devices: i64,
    /// Events that destinations acknowledged, each once.
    deliveries: i64,
    /// The most connections of subscribers at once, of each node, added up.
    sockets_peak: i64,
    /// How long all of them together were open.
    socket_seconds: i64,
    /// Bytes of the events of that day and of those before it that were still kept at its end.
    storage_bytes: i64,
}

/// How much of a quota is used today.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaView {
    #[schema(example = "events_per_day")]
    quota: &'static str,
    limit: u64,
    used: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageView {
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// Every day that was asked for, oldest first.
    days: Vec<UsageDayView>,
    /// Of today.
    quotas: Vec<QuotaView>,
}

impl UsageDayView {
    fn of(usage: &UsageDay, storage_bytes: i64) -> Self {
        UsageDayView {
            day: date(usage.day),
            events: usage.events,
            bytes: usage.bytes,
            devices: usage.devices,
            deliveries: usage.deliveries,
            sockets_peak: usage.sockets_peak,
            socket_seconds: usage.sockets_open_us / 1_000_000,
            storage_bytes,
        }
    }
}

#[utoipa::path(get, path = "/usage", tag = "usage", params(UsageQuery),
    responses((status = 200, description = "As JSON, or as CSV with a line a day under the names of the columns",
        content((UsageView = "application/json"), (String = "text/csv"))),
        (status = 422, description = "A day that is none, or too many")))]
pub(crate) async fn find(
    acting: Acting,
    control: Arc<Control>,
    headers: HeaderMap,
    Params(query): Params<UsageQuery>,
) -> ApiResult<Response> {
    let scope = acting.may(Grant::UsageRead)?;
    let tenant = scope.tenant();
    let deps = &control.deps;
    let today = day_of_us(deps.clock.now_us());
    let (from, to) = query.days(today)?;
    let kept = control.kept_days();
    let usage = deps.store.usage(scope);
    let known = usage.days(from.saturating_sub(kept - 1), to).await?;
    let days = every_day(&known, from, to, kept);
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let wants_csv = accepts.is_some_and(|accept| accept.contains("text/csv"));
    let usual = if wants_csv { Format::Csv } else { Format::Json };
    if query.format.unwrap_or(usual) == Format::Csv {
        return Ok(csv(tenant, &days));
    }
    let limits = deps.directory.tenant(tenant).map(|t| t.body.limits);
    let limits = limits.unwrap_or_default();
    let quotas = deps.store.quotas(&deps.authority);
    let used = quotas.exchange(today, &[], &[tenant]).await?;
    let used = used.first().map_or((0, 0), |u| (u.events, u.bytes));
    let quotas = Quota::ALL
        .into_iter()
        .filter(|quota| quota.limit(&limits) > 0);
    let view = UsageView {
        tenant_id: tenant,
        days,
        quotas: quotas
            .map(|quota| QuotaView {
                quota: quota.name(),
                limit: quota.limit(&limits),
                used: quota.of(used.0, used.1),
            })
            .collect(),
    };
    Ok(answer(StatusCode::OK, &view))
}

impl UsageQuery {
    fn days(&self, today: i64) -> ApiResult<(i64, i64)> {
        let named = |name: &str, text: &Option<String>| {
            let parse = |text: &String| {
                day(text).ok_or_else(|| {
                    ApiError::invalid(format!("{name} is a day such as 2026-11-21, not {text:?}."))
                })
            };
            text.as_ref().map(parse).transpose()
        };
        let to = named("to", &self.to)?.unwrap_or(today);
        let from = named("from", &self.from)?.unwrap_or(to - (USUAL_DAYS - 1));
        if from > to || to - from >= MOST_DAYS {
            return Err(ApiError::invalid(format!(
                "from is at most to, and at most {MOST_DAYS} days are told at once."
            )));
        }
        Ok((from, to))
    }
}

impl Control {
    /// How long the log keeps events, in days that have begun.
    fn kept_days(&self) -> i64 {
        let days = self.deps.settings.retention_seconds.div_ceil(86_400);
        i64::try_from(days)
            .unwrap_or(MOST_KEPT_DAYS)
            .clamp(1, MOST_KEPT_DAYS)
    }
}

/// Every day from `from` to `to`, of what is known of them and of the days that were still kept.
fn every_day(known: &[UsageDay], from: i64, to: i64, kept: i64) -> Vec<UsageDayView> {
    let stored = |day: i64| {
        let kept = known.iter().filter(|k| k.day > day - kept && k.day <= day);
        kept.map(|k| k.bytes).sum()
    };
    let usage = |day: i64| {
        let found = known.iter().find(|k| k.day == day).copied();
        found.unwrap_or(UsageDay {
            day,
            ..UsageDay::default()
        })
    };
    (from..=to)
        .map(|day| UsageDayView::of(&usage(day), stored(day)))
        .collect()
}

fn csv(tenant: TenantId, days: &[UsageDayView]) -> Response {
    let mut text = String::from(
        "tenant_id,day,events,bytes,devices,deliveries,sockets_peak,socket_seconds,storage_bytes\n",
    );
    for d in days {
        text.push_str(&format!(
            "{tenant},{},{},{},{},{},{},{},{}\n",
            d.day,
            d.events,
            d.bytes,
            d.devices,
            d.deliveries,
            d.sockets_peak,
            d.socket_seconds,
            d.storage_bytes
        ));
    }
    let csv = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
    (StatusCode::OK, csv, text).into_response()
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DayQuery {
    /// As `2026-11-21`; today where it is not said.
    day: Option<String>,
    /// Goes on after this id: `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 1000; 100 where it is not said.
    limit: Option<u32>,
}

/// What a tenant used on a day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantUsageView {
    #[schema(value_type = String)]
    tenant_id: TenantId,
    slug: String,
    #[serde(flatten)]
    usage: UsageDayView,
}

impl From<TenantUsage> for TenantUsageView {
    fn from(found: TenantUsage) -> Self {
        TenantUsageView {
            tenant_id: found.tenant,
            slug: found.slug,
            usage: UsageDayView::of(&found.usage, found.kept_bytes),
        }
    }
}

#[utoipa::path(get, path = "/operator/usage", tag = "operator", params(DayQuery),
    responses((status = 200, description = "Of all tenants, by id", body = Page<TenantUsageView>)))]
pub(crate) async fn of_all(
    Operator(operator): Operator,
    control: Arc<Control>,
    Params(query): Params<DayQuery>,
) -> ApiResult<Response> {
    let deps = &control.deps;
    let named = UsageQuery {
        from: query.day.clone(),
        to: query.day,
        format: None,
    };
    let (_, day) = named.days(day_of_us(deps.clock.now_us()))?;
    let page = PageQuery {
        after: query.after,
        limit: query.limit,
    };
    let after: Option<TenantId> = page.after()?;
    let found = deps
        .store
        .usages(&operator)
        .of_day(day, control.kept_days(), after, page.limit())
        .await?;
    let items = found.into_iter().map(TenantUsageView::from);
    Ok(Page::answer(items, &page, |t| t.tenant_id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_of_the_days_that_are_kept() {
        let used = |day, bytes| UsageDay {
            day,
            bytes,
            ..UsageDay::default()
        };
        let known = [used(7, 1), used(8, 10), used(10, 100)];
        let days = every_day(&known, 9, 12, 2);
        let found: Vec<(i64, i64)> = days.iter().map(|d| (d.bytes, d.storage_bytes)).collect();
        assert_eq!(found, [(0, 10), (100, 100), (0, 100), (0, 0)]);
    }

    #[test]
    fn a_span_of_days_is_bounded_and_the_right_way_round() {
        let query = |from: Option<&str>, to: Option<&str>| UsageQuery {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            format: None,
        };
        let today = 20_000;
        assert_eq!(query(None, None).days(today).unwrap(), (19_971, 20_000));
        let one = query(Some("1970-01-02"), Some("1970-01-02"));
        assert_eq!(one.days(today).unwrap(), (1, 1));
        for (from, to) in [
            ("1970-01-03", "1970-01-02"),
            ("1970-01-01", "1971-02-05"),
            ("yesterday", "1970-01-02"),
        ] {
            assert!(
                query(Some(from), Some(to)).days(today).is_err(),
                "{from} {to}"
            );
        }
    }
}
